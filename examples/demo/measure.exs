defmodule Demo.Proc do
  @moduledoc "What /proc says of processes: it is asked, not our own books."

  @doc "The resident memory of a process in bytes, 0 when it is gone."
  def memory(pid) do
    with {:ok, status} <- File.read("/proc/#{pid}/status"),
         [_, kib] <- Regex.run(~r/^VmRSS:\s+(\d+) kB/m, status) do
      String.to_integer(kib) * 1024
    else
      _ -> 0
    end
  end

  @doc "The Python process under the guardian of a worker, nil while there is none."
  def python(guardian) do
    guardian
    |> descendants()
    |> Enum.find(fn pid -> match?({:ok, "Python" <> _}, name(pid)) or match?({:ok, "python" <> _}, name(pid)) end)
  end

  defp descendants(pid) do
    case pid && File.read("/proc/#{pid}/task/#{pid}/children") do
      {:ok, children} -> children |> String.split() |> Enum.flat_map(&[&1 | descendants(&1)])
      _ -> []
    end
  end

  defp name(pid), do: File.read("/proc/#{pid}/comm")

  @doc "How far a process has read the file at `path`, in bytes; nil when it doesn't have it open."
  def read_so_far(pid, path) do
    with {:ok, fds} <- File.ls("/proc/#{pid}/fd"),
         fd when fd != nil <- Enum.find(fds, &(File.read_link("/proc/#{pid}/fd/#{&1}") == {:ok, path})),
         {:ok, info} <- File.read("/proc/#{pid}/fdinfo/#{fd}"),
         [_, position] <- Regex.run(~r/^pos:\s+(\d+)/m, info) do
      String.to_integer(position)
    else
      _ -> nil
    end
  end

  @doc "The processes that were started with this text in their environment: `{pid, command line}`."
  def marked(mark) do
    for pid <- File.ls!("/proc"),
        pid =~ ~r/^\d+$/,
        {:ok, environment} <- [File.read("/proc/#{pid}/environ")],
        String.contains?(environment, mark),
        {:ok, command} <- [File.read("/proc/#{pid}/cmdline")],
        command != "",
        do: {String.to_integer(pid), String.replace(command, "\0", " ")}
  end
end

defmodule Demo.Load do
  @moduledoc "Callers that call without a pause, and a histogram of how long their calls took."

  # Buckets of 2 %: from 1 us to half an hour.
  @buckets 1_100
  @step :math.log(1.02)

  def start(calls) do
    load = %{
      calls: :counters.new(@buckets, [:write_concurrency]),
      # 1: errors, 2: set to stop
      other: :counters.new(2, [])
    }

    Map.put(load, :tasks, for(call <- calls, do: Task.async(fn -> loop(load, call) end)))
  end

  def stop(load) do
    :counters.put(load.other, 2, 1)
    Task.await_many(load.tasks, 10_000)
    load
  end

  def count(load), do: Enum.sum(histogram(load))
  def errors(load), do: :counters.get(load.other, 1)

  @doc "The time in microseconds within which this share of the calls was answered."
  def percentile(load, share) do
    histogram = histogram(load)
    rank = share * Enum.sum(histogram)

    {_, bucket} =
      histogram
      |> Enum.with_index()
      |> Enum.reduce_while({0, 0}, fn {n, bucket}, {sum, _} ->
        if sum + n >= rank, do: {:halt, {sum, bucket}}, else: {:cont, {sum + n, bucket}}
      end)

    :math.exp(bucket * @step)
  end

  defp histogram(load), do: for(bucket <- 1..@buckets, do: :counters.get(load.calls, bucket))

  defp loop(load, call) do
    if :counters.get(load.other, 2) == 0 do
      {us, result} = :timer.tc(call)

      case result do
        {:ok, _} -> :counters.add(load.calls, min(@buckets, trunc(:math.log(max(us, 1)) / @step) + 1), 1)
        {:error, _} -> :counters.add(load.other, 1, 1)
      end

      loop(load, call)
    end
  end
end
