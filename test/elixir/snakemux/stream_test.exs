defmodule Snakemux.StreamTest do
  use Snakemux.Case, async: true

  alias Snakemux.Error

  setup_all do
    name = :mux_of_stream_test
    start_supervised!({Snakemux, name: name, workers: [python()]})
    :ok = Snakemux.await_ready(name, timeout: 30_000)
    %{mux: name}
  end

  # How far the worker had come, once it has seen the end.
  defp ended(mux, name) do
    eventually(fn ->
      with [] <- Snakemux.execute!(mux, "ended", %{name: name}), do: nil
    end)
  end

  test "yields the chunks in order, and ends", %{mux: mux} do
    stream = Snakemux.stream(mux, "numbers", %{name: "order", count: 1_000})
    assert Enum.to_list(stream) == for(n <- 0..999, do: {:ok, %{"n" => n}})
    assert mailbox() == []
  end

  test "stream! yields plain chunks", %{mux: mux} do
    assert mux |> Snakemux.stream!("numbers", %{name: "plain", count: 10}) |> Enum.map(& &1["n"]) ==
             Enum.to_list(0..9)
  end

  test "an empty stream is an empty list", %{mux: mux} do
    assert mux |> Snakemux.stream!("numbers", %{name: "empty", count: 3}) |> Stream.drop(3) |> Enum.to_list() == []
  end

  test "may be enumerated again: a new call each time", %{mux: mux} do
    stream = Snakemux.stream!(mux, "numbers", %{name: "again", count: 3})
    assert Enum.count(stream) == 3
    assert Enum.count(stream) == 3
    assert ended(mux, "again") == [3, 3]
  end

  test "nothing is sent before the first demand", %{mux: mux} do
    stream = Snakemux.stream(mux, "numbers", %{name: "lazy"})
    assert Enum.take(stream, 0) == []
    assert {:suspended, _, continue} = Enumerable.reduce(stream, {:suspend, nil}, fn x, _ -> {:suspend, x} end)
    assert running(mux) == []

    assert {:suspended, {:ok, %{"n" => 0}}, continue} = continue.({:cont, nil})
    assert [_] = running(mux)
    assert {:halted, _} = continue.({:halt, nil})
    assert [_] = ended(mux, "lazy")
  end

  test "halting cancels at the worker, which was never far ahead", %{mux: mux} do
    stream = Snakemux.stream!(mux, "numbers", %{name: "halt"}, credit: 4)
    assert Enum.take(stream, 10) |> Enum.map(& &1["n"]) == Enum.to_list(0..9)
    assert [_] = ended(mux, "halt")
    assert mailbox() == []
  end

  test "an exception in the consumer cancels at the worker", %{mux: mux} do
    assert_raise RuntimeError, "enough", fn ->
      mux |> Snakemux.stream!("numbers", %{name: "raise"}) |> Enum.each(fn _ -> raise "enough" end)
    end

    assert [_] = ended(mux, "raise")
    assert mailbox() == []
  end

  test "the death of the consumer cancels at the worker", %{mux: mux} do
    test = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        mux |> Snakemux.stream!("numbers", %{name: "death"}) |> Enum.each(&send(test, {:got, &1}))
      end)

    assert_receive {:got, %{"n" => 0}}, 5_000
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}, 5_000
    assert [_] = ended(mux, "death")
  end

  test "a stream that waits has no more chunks in the mailbox than its credit", %{mux: mux} do
    stream = Snakemux.stream(mux, "numbers", %{name: "slow"}, credit: 2)
    assert {:suspended, {:ok, _}, continue} = Enumerable.reduce(stream, {:cont, nil}, fn x, _ -> {:suspend, x} end)
    chunks = fn -> for {:snakemux, _, {:chunk, %{"n" => n}}} <- mailbox(), do: n end
    eventually(fn -> length(chunks.()) == 2 end)
    # Whatever the port program had sent when it answered has arrived.
    assert [%{credit: 0}] = running(mux)
    assert chunks.() == [1, 2]
    continue.({:halt, nil})
    assert [_] = ended(mux, "slow")
  end

  test "an error is the last element, once", %{mux: mux} do
    assert [{:ok, %{"n" => 0}}, {:ok, %{"n" => 1}}, {:error, %Error{} = error}] =
             mux |> Snakemux.stream("numbers", %{name: "error", fail_at: 2}) |> Enum.to_list()

    assert %{code: :unknown, message: "no more after 2", delivered: 2, worker: "py"} = error

    assert Exception.message(error) ==
             "numbers on py: unknown (ValueError): no more after 2 [worker, sent, after 2 chunks]"

    assert mailbox() == []
  end

  test "stream! raises the error after the chunks before it", %{mux: mux} do
    test = self()

    assert_raise Error, ~r/no more after 2/, fn ->
      mux
      |> Snakemux.stream!("numbers", %{name: "error!", fail_at: 2})
      |> Enum.each(&send(test, {:got, &1["n"]}))
    end

    assert mailbox() == [{:got, 0}, {:got, 1}]
  end

  test "an instance that is not there is an error element" do
    assert [{:error, %Error{code: :unavailable}}] = Enum.to_list(Snakemux.stream(:no_such_mux, "numbers"))
  end

  test "a timeout is an error element", %{mux: mux} do
    last = mux |> Snakemux.stream("numbers", %{name: "timeout"}, timeout: 1_000) |> Enum.to_list() |> List.last()
    assert {:error, %Error{code: :deadline_exceeded, delivered: delivered}} = last
    assert delivered > 0
    assert mailbox() == []
  end

  test "streams interleave in one process", %{mux: mux} do
    streams = for name <- ["zip a", "zip b"], do: Snakemux.stream!(mux, "numbers", %{name: name, count: 100})
    assert streams |> Stream.zip_with(fn [a, b] -> a["n"] + b["n"] end) |> Enum.sum() == 9_900
    assert mailbox() == []
  end

  test "a shorter stream beside it cancels the longer", %{mux: mux} do
    endless = Snakemux.stream!(mux, "numbers", %{name: "endless"})
    short = Snakemux.stream!(mux, "numbers", %{name: "short", count: 20})
    assert Enum.count(Stream.zip(endless, short)) == 20
    assert [_] = ended(mux, "endless")
  end

  test "other messages stay, in their order, whatever they look like", %{mux: mux} do
    others = [
      {:snakemux, make_ref(), {:chunk, :not_yours}},
      {:chunk, 1},
      {:DOWN, make_ref(), :port, nil, nil},
      :hello
    ]

    for message <- others, do: send(self(), message)
    assert mux |> Snakemux.stream!("numbers", %{name: "others"}) |> Enum.take(50) |> length() == 50
    assert mailbox() == others
  end

  defmodule Server do
    @moduledoc false
    use GenServer

    def start_link(mux), do: GenServer.start_link(__MODULE__, mux)

    @impl true
    def init(mux), do: {:ok, %{mux: mux, seen: []}}

    @impl true
    def handle_call({:sum, name, take}, _from, state) do
      sum =
        state.mux
        |> Snakemux.stream!("numbers", %{name: name})
        |> Stream.map(& &1["n"])
        |> Enum.take(take)
        |> Enum.sum()

      {:reply, sum, state}
    end

    def handle_call(:seen, _from, state), do: {:reply, Enum.reverse(state.seen), state}

    @impl true
    def handle_cast(message, state), do: {:noreply, %{state | seen: [message | state.seen]}}

    @impl true
    def handle_info(message, state), do: {:noreply, %{state | seen: [{:info, message} | state.seen]}}
  end

  test "a GenServer with messages of its own consumes one", %{mux: mux} do
    server = start_supervised!({Server, mux})
    :sys.suspend(server)

    task =
      Task.async(fn ->
        GenServer.call(server, {:sum, "server", 1_000}, 15_000)
      end)

    for n <- 1..100 do
      GenServer.cast(server, n)
      send(server, n)
    end

    :sys.resume(server)
    assert Task.await(task, 20_000) == 499_500
    assert [_] = ended(mux, "server")
    assert GenServer.call(server, :seen) == Enum.flat_map(1..100, &[&1, {:info, &1}])
  end

  # The calls of this file run one after the other: what runs is the test's own, but for those cancelled by the one before.
  defp running(mux) do
    {:ok, calls} = Snakemux.calls(mux)
    for %{command: "numbers", state: state} = call <- calls, state != :cancelled, do: call
  end
end
