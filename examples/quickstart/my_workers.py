from snakemux import Worker

worker = Worker()


@worker.command
def mean(numbers: list):
    return sum(numbers) / len(numbers)


@worker.command
def primes(below: int):  # a generator is a stream
    for n in range(2, below):
        if all(n % d for d in range(2, int(n**0.5) + 1)):
            yield {"prime": n}
