# What `make demo` shows: two Python workers behind one port program. Nothing in it is simulated.
Code.require_file("screen.exs", __DIR__)
Code.require_file("measure.exs", __DIR__)

defmodule Demo do
  alias Demo.{Load, Proc, Screen}
  import Demo.Screen, only: [number: 1, mib: 1, seconds: 1, faint: 1]

  @mux Demo.ML
  @table :demo
  @workers Path.expand("../workers", __DIR__)
  @directory Path.expand("../../_build/demo", __DIR__)
  @dataset Path.join(@directory, "readings.csv")
  @model Path.join(@directory, "digits.joblib")

  @callers 16
  @pause_after 200
  @pause_ms 2_500

  def run do
    # The log of a killed worker would break into the picture.
    :logger.set_primary_config(:level, :none)
    prepare()
    began = now()
    :ets.new(@table, [:named_table, :public])
    # Every process that comes of this demo carries the mark, and is found by it in the end.
    mark = "#{System.pid()}-#{System.os_time()}"
    System.put_env("SNAKEMUX_DEMO", mark)
    :ets.insert(@table, {:mark, "SNAKEMUX_DEMO=" <> mark})

    Screen.title("snakemux", "one port program, two Python workers, nothing simulated")
    instance = start()
    load = work()
    pause(load)
    kill(load)
    summary(load, instance, began)
  end

  defp prepare do
    File.mkdir_p!(@directory)

    if not File.exists?(@dataset) do
      python = System.get_env("SNAKEMUX_PYTHON", "python3")
      {_, 0} = System.cmd(python, [Path.join(@workers, "make_dataset.py"), @dataset])
    end
  end

  defp start do
    Screen.heading("Two workers start")
    began = now()
    workers = [{:python, module: "all_examples", path: @workers, count: 2}]
    {:ok, instance} = Snakemux.start_link(name: @mux, workers: workers)

    ready = Task.async(fn -> Snakemux.await_ready(@mux, timeout: 20_000) end)

    with {:error, error} <- Screen.live(ready, &worker_rows/0) do
      Screen.say(Exception.message(error))
      System.halt(1)
    end

    Screen.say(faint("ready after #{seconds(now() - began)}"))
    instance
  end

  # Unary calls and both streams at the same time.
  defp work do
    Screen.heading("Calls and two streams at once, over the one port")
    {:ok, trained} = Snakemux.execute(@mux, "train", %{model_path: @model})

    Screen.say(
      faint(
        "a model is trained on #{trained["samples"]} handwritten digits and saved: #{seconds(1.0e6 * trained["seconds"])}"
      )
    )

    load =
      Load.start(
        for n <- 1..@callers do
          fn -> Snakemux.execute(@mux, "compute", %{operation: "multiply", a: n, b: 3}) end
        end
      )

    spawn_link(fn -> sample(load, 0, []) end)

    streams =
      Task.async(fn ->
        Task.await_many(
          [
            consume(:digits, "ml_inference_stream", %{model_path: @model, batch_size: 1}),
            consume(:readings, "process_large_dataset", %{dataset_path: @dataset, chunk_size: 200})
          ],
          30_000
        )
      end)

    Screen.live(streams, fn -> [calls_row(load), digits_row(), readings_row(:readings)] end)
    load
  end

  # A consumer that stops: the worker stops too, at no cost of memory anywhere.
  defp pause(load) do
    Screen.heading("A consumer stops reading after #{@pause_after} chunks, and the worker waits")
    args = %{dataset_path: @dataset, chunk_size: 100}
    worker_pid = pid("py-0")
    consumer = consume(:paused, "process_large_dataset", args, worker: "py-0", pause_after: @pause_after)

    pause =
      Task.async(fn ->
        wait_for(fn -> look({:chunks, :paused}) == @pause_after end)
        Process.sleep(@pause_ms)
      end)

    port_pid = port_pid()

    Screen.live(pause, fn ->
      note({:memory, worker_pid})
      note({:memory, port_pid})

      [
        consumer_row(consumer.pid),
        file_row(worker_pid),
        memory_row("worker", worker_pid),
        memory_row("port program", port_pid),
        calls_row(load)
      ]
    end)

    Screen.say(faint("now the consumer reads on"))
    send(consumer.pid, :read_on)
    Screen.live(consumer, fn -> [readings_row(:paused)] end)
  end

  # kill -9: what ran there ends with an error that says so, everything else goes on, and the worker comes back.
  defp kill(load) do
    victim = pid("py-1")
    Screen.heading("kill -9 #{victim}, which is py-1")
    failed_before = Load.errors(load)
    args = %{dataset_path: @dataset, chunk_size: 50}

    stream =
      Task.async(fn ->
        @mux |> Snakemux.stream("process_large_dataset", args, worker: "py-1") |> count_until_error()
      end)

    wait_for(fn -> (Proc.read_so_far(victim, @dataset) || 0) > 1_000_000 end)

    began = now()
    {_, 0} = System.cmd("kill", ["-9", "#{victim}"])

    back =
      Task.async(fn ->
        wait_for(fn -> pid("py-1") not in [nil, victim] end)
        {:ok, _} = Snakemux.execute(@mux, "ping", %{}, worker: "py-1")
        now() - began
      end)

    took = Screen.live(back, fn -> worker_rows() ++ [calls_row(load)] end)
    {chunks, error} = Task.await(stream)
    Screen.say(faint("its stream had #{number(chunks)} chunks, then: ") <> Exception.message(error))
    failed = Load.errors(load) - failed_before
    Screen.say(faint("#{failed} calls on it ended the same way; it answers again after #{seconds(took)}"))
  end

  defp summary(load, instance, began) do
    mark = look(:mark)
    Load.stop(load)
    restarts = Enum.sum(for worker <- workers(), do: worker.restarts)
    :ok = Supervisor.stop(instance)
    # What has been told to end may take a moment.
    orphans = (wait_for(fn -> Proc.marked(mark) == [] end, 3_000) && 0) || length(Proc.marked(mark))

    Screen.heading("Summary")

    Screen.rows([
      {"calls", nil, "#{number(Load.count(load))}, #{number(Load.errors(load))} more ended with the killed worker"},
      {"chunks", nil, number(Enum.sum(for {{:chunks, _}, n} <- :ets.tab2list(@table), do: n))},
      {"latency", nil, "p50 #{ms(load, 0.50)}, p99 #{ms(load, 0.99)}, #{@callers} callers at once"},
      {"restarts", nil, "#{restarts}"},
      {"orphans", nil, "#{orphans} #{faint("(processes of this demo still in /proc)")}"},
      {"took", nil, seconds(now() - began)}
    ])

    IO.puts("")
    if orphans > 0 or restarts != 1, do: System.halt(1)
  end

  # Consumers, in tasks of their own.

  defp consume(key, command, args, opts \\ []) do
    {pause_after, opts} = Keyword.pop(opts, :pause_after)

    Task.async(fn ->
      for chunk <- Snakemux.stream!(@mux, command, args, opts) do
        :ets.insert(@table, {key, chunk})
        count = :ets.update_counter(@table, {:chunks, key}, 1, {{:chunks, key}, 0})
        if count == pause_after, do: receive(do: (:read_on -> :ok))
      end

      :ok
    end)
  end

  defp count_until_error(stream) do
    Enum.reduce(stream, {0, nil}, fn
      {:ok, _chunk}, {count, nil} -> {count + 1, nil}
      {:error, error}, {count, nil} -> {count, error}
    end)
  end

  # Rows.

  defp worker_rows do
    for worker <- workers(), do: {worker.id, nil, "#{worker.state}, pid #{pid(worker.id) || "-"}"}
  end

  defp calls_row(load) do
    rates = look(:rates) || [0]

    {"calls", rates,
     "#{pad(number(Load.count(load)), 6)}  #{pad(number(List.last(rates)), 5)}/s  p50 #{ms(load, 0.50)}  p99 #{ms(load, 0.99)}"}
  end

  defp consumer_row(pid) do
    taken = "#{number(look({:chunks, :paused}) || 0)} chunks taken"
    {"consumer", nil, "#{taken}, #{queue(pid)} messages in its mailbox"}
  end

  defp file_row(pid) do
    {"file read", (Proc.read_so_far(pid, @dataset) || 0) / File.stat!(@dataset).size, "and no further: /proc says so"}
  end

  # The curve fills not quite half the row as long as nothing grows.
  defp memory_row(label, pid) do
    [first | _] = history = look({:memory, pid})
    last = List.last(history)
    {label, {history, 2.2 * first}, "#{mib(last)} resident, #{mib(max(0, last - first))} more than before"}
  end

  defp digits_row do
    case look(:digits) do
      nil ->
        {"digits", 0.0, ""}

      %{"finished" => true} = last ->
        {"digits", 1.0, "#{last["total"]} digits, #{percent(last["accuracy"])} of them right"}

      chunk ->
        {"digits", chunk["progress"], "#{chunk["done"]}/#{chunk["total"]}, #{percent(chunk["accuracy"])} right"}
    end
  end

  defp readings_row(key) do
    case look(key) do
      nil ->
        {"readings", 0.0, ""}

      %{"finished" => true} = last ->
        mean = :erlang.float_to_binary(last["temperature"]["mean"], decimals: 2)
        {"readings", 1.0, "#{number(last["rows"])} rows of #{last["sensors"]} sensors, #{mean} °C in the mean"}

      chunk ->
        {"readings", chunk["progress"], "#{number(chunk["rows_done"])} rows"}
    end
  end

  # Every 200 ms: how many calls a second.
  defp sample(load, before, rates) do
    Process.sleep(200)
    count = Load.count(load)
    rates = Enum.take(rates ++ [5 * (count - before)], -60)
    :ets.insert(@table, {:rates, rates})
    sample(load, count, rates)
  end

  defp note({:memory, pid} = key),
    do: :ets.insert(@table, {key, Enum.take((look(key) || []) ++ [Proc.memory(pid)], -60)})

  defp look(key) do
    case :ets.lookup(@table, key) do
      [{_, value}] -> value
      [] -> nil
    end
  end

  defp workers do
    {:ok, workers} = Snakemux.workers(@mux)
    Enum.sort_by(workers, & &1.id)
  end

  # The operating system's number of a worker's Python process, and of the port program.
  defp pid(id), do: Proc.python(Enum.find(workers(), &(&1.id == id))[:guardian_pid])

  defp port_pid do
    [{pid, _}] = for {_, command} = process <- Proc.marked(look(:mark)), command =~ ~r/snakemux port/, do: process
    pid
  end

  defp queue(pid) do
    case Process.info(pid, :message_queue_len) do
      {_, length} -> length
      nil -> 0
    end
  end

  defp wait_for(condition, timeout \\ 20_000) do
    cond do
      condition.() -> true
      timeout <= 0 -> false
      true -> Process.sleep(20) && wait_for(condition, timeout - 20)
    end
  end

  defp pad(text, width), do: String.pad_leading(text, width)
  defp ms(load, share), do: Screen.ms(Load.percentile(load, share))
  defp percent(share), do: :erlang.float_to_binary(100.0 * share, decimals: 1) <> " %"
  defp now, do: System.monotonic_time(:microsecond)
end

Demo.run()
