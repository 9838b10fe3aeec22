"""What becomes possible in step 3: the same command beside a stream, with types, state and deadlines."""

from snakemux import Context, Worker

worker = Worker()


@worker.command
def score(text: str):
    words = text.split()
    return {"status": "ok", "score": sum(map(len, words)) / max(1, len(words))}


@worker.command
def scores(texts: list, ctx: Context):
    for text in texts:
        ctx.check()
        yield score(text)
