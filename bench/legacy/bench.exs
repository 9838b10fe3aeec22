# The same Python handlers behind the old pipes and behind snakemux, all sides in turn within one run.
# mix run --no-start bench/legacy/bench.exs [OUT.json]     SECONDS=0.4 ROUNDS=5
#
#   pipes    the old worker on {packet,4}, a minimal pool around it (bench/src/bench_pool.erl)
#   front    the same pool over `snakemux legacy`, each front with a worker of its own
#   share    the same, all fronts with one worker
#   mux      Snakemux.execute to the same handlers as gRPC workers
#   wrap     Snakemux.execute to the old workers behind `snakemux wrap`

defmodule Bench do
  @root Path.expand("../..", __DIR__)
  @python System.get_env("SNAKEMUX_PYTHON") || Path.join(@root, ".venv/bin/python")
  @old_worker [Path.join(@root, "test/legacy/legacy_worker.py")]
  @mebibyte 1_048_576
  @sides ~w(pipes front share mux wrap)a

  def run(out) do
    System.put_env("SNAKEMUX_PYTHON", @python)
    seconds = String.to_float(System.get_env("SECONDS", "0.4"))
    rounds = String.to_integer(System.get_env("ROUNDS", "5"))

    results =
      for workers <- [1, 4] do
        sides = Map.new(@sides, &{&1, start(&1, workers)})

        cases =
          for size <- [16, @mebibyte], codec <- [:json, :msgpack], callers <- [1, 16], do: {size, codec, callers}

        measured =
          for _ <- 1..rounds, {size, codec, callers} <- cases, side <- @sides, carries?(side, codec) do
            rate = rate(call(side, sides[side], codec, size), callers, seconds)
            {{side, workers, size, codec, callers}, rate}
          end

        Enum.each(sides, &stop/1)
        measured
      end

    results
    |> List.flatten()
    |> Enum.group_by(&elem(&1, 0), &elem(&1, 1))
    |> Enum.map(fn {key, rates} -> {key, median(rates)} end)
    |> report(out)
  end

  # Terms have one codec: the mux is measured once, beside both of the pipes'.
  defp carries?(side, codec), do: side not in [:mux, :wrap] or codec == :msgpack

  defp start(:pipes, n), do: pool(@python, @old_worker, n)
  defp start(:front, n), do: front(n, [])
  defp start(:share, n), do: front(n, ["--share", "bench-#{System.pid()}"])
  defp start(:mux, n), do: mux(:bench_mux, {:python, module: "snakemux.legacy:generic", count: n})
  defp start(:wrap, n), do: mux(:bench_wrap, {:legacy, argv: [@python | @old_worker], count: n})

  defp front(n, flags) do
    worker = [@python, "-m", "snakemux.legacy", "--address", "{address}"]
    exe = List.to_string(:filename.join(:snakemux_options.priv_dir(), ~c"snakemux"))
    pool(exe, ["legacy"] ++ flags ++ ["--" | worker], n)
  end

  defp pool(exe, args, n) do
    {:ok, pool} = :bench_pool.start_link(exe, args, n)
    pool
  end

  defp mux(name, spec) do
    {:ok, pid} = Snakemux.start_link(name: name, workers: [spec])
    :ok = Snakemux.await_ready(name)
    {name, pid}
  end

  defp stop({side, {_, pid}}) when side in [:mux, :wrap], do: Supervisor.stop(pid)
  defp stop({_, pool}), do: :bench_pool.stop(pool)

  defp call(side, {name, _}, _, size) when side in [:mux, :wrap] do
    args = %{"data" => text(size)}
    fn -> {:ok, %{"status" => "ok"}} = Snakemux.execute(name, "echo", args) end
  end

  defp call(_, pool, codec, size) do
    frame = frame(codec, text(size))
    fn -> if byte_size(:bench_pool.call(pool, frame)) < size, do: raise("a short answer") end
  end

  defp text(size), do: String.duplicate("x", size)
  defp frame(:json, text), do: ~s({"args":{"data":"#{text}"},"command":"echo","id":5})

  defp frame(:msgpack, text) do
    <<0x83, 0xA4, "args", 0x81, 0xA4, "data", 0xDB, byte_size(text)::32, text::binary, 0xA7, "command", 0xA4, "echo",
      0xA2, "id", 5>>
  end

  defp rate(call, callers, seconds) do
    for _ <- 1..3, do: call.()
    until = System.monotonic_time(:microsecond) + round(seconds * 1.0e6)
    begun = System.monotonic_time(:microsecond)
    counts = for _ <- 1..callers, do: Task.async(fn -> count(call, until, 0) end)
    total = counts |> Task.await_many(:infinity) |> Enum.sum()
    total * 1.0e6 / (System.monotonic_time(:microsecond) - begun)
  end

  defp count(call, until, n) do
    call.()
    if System.monotonic_time(:microsecond) < until, do: count(call, until, n + 1), else: n + 1
  end

  defp median(list), do: list |> Enum.sort() |> Enum.at(div(length(list), 2))

  defp report(rates, out) do
    rates = Map.new(rates)
    IO.puts("calls/s (ratio to the old pipes)")

    rows =
      for workers <- [1, 4], callers <- [1, 16], size <- [16, @mebibyte], codec <- [:json, :msgpack] do
        old = rates[{:pipes, workers, size, codec, callers}]
        sides = for side <- @sides, rate = rates[{side, workers, size, codec, callers}], do: {side, rate}
        shown = for {side, rate} <- sides, do: "#{side} #{round(rate)} (#{Float.round(rate / old, 2)})"
        IO.puts("#{workers} workers, #{callers} callers, #{size} bytes, #{codec}: #{Enum.join(shown, ", ")}")

        Enum.map(sides, fn {side, rate} ->
          ~s({"side":"#{side}","workers":#{workers},"callers":#{callers},) <>
            ~s("size":#{size},"codec":"#{codec}","rate":#{Float.round(rate, 1)}})
        end)
      end

    File.write!(out, "[\n" <> Enum.join(List.flatten(rows), ",\n") <> "\n]\n")
  end
end

Logger.configure(level: :warning)
Bench.run(List.first(System.argv()) || Path.join(__DIR__, "results.json"))
