"""All the example commands in one worker: what `make demo` starts."""

import large_dataset
import ml_inference
import tail

from snakemux import Worker

worker = Worker(name="examples", threads=8)

for function in (
    ml_inference.train,
    ml_inference.predict,
    ml_inference.ml_inference_stream,
    ml_inference.learn,
    ml_inference.recognise,
    large_dataset.process_large_dataset,
    tail.tail_and_analyze,
):
    worker.command(function)

worker.on_start(ml_inference.load_data)
worker.on_session_end(ml_inference.forget)


if __name__ == "__main__":
    worker.run()
