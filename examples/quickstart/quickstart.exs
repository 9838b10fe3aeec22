workers = [{:python, module: "my_workers", path: "examples/quickstart", count: 2}]
{:ok, _} = Snakemux.start_link(name: ML, workers: workers)

{:ok, mean} = Snakemux.execute(ML, "mean", %{numbers: [1, 2, 6]})
IO.puts("mean: #{mean}")

ML
|> Snakemux.stream!("primes", %{below: 1_000_000})
|> Stream.map(& &1["prime"])
|> Enum.take(5)
|> IO.inspect(label: "primes")
