defmodule Snakemux.CompatTest do
  use Snakemux.Case, async: false

  alias Snakemux.Compat

  doctest Snakemux.Compat
  doctest Snakemux.Adapters.GRPCPython

  setup_all do
    start_supervised!({Snakemux, name: :compat, workers: [python(count: 2, threads: 1, id: "py")]})
    :ok = Snakemux.await_ready(:compat)
    Application.put_env(:snakemux, Compat, mux: :compat)
    on_exit(fn -> Application.delete_env(:snakemux, Compat) end)
  end

  test "results are what they were, and the command may be an atom" do
    assert {:ok, %{"status" => "ok", "result" => 3}} = Compat.execute("compute", %{a: 1, b: 2})
    assert {:ok, %{"echoed" => %{"x" => 1}}} = Compat.execute(:echo, %{x: 1}, timeout: 5_000)
  end

  test "an error of the worker is its text" do
    assert Compat.execute("fail", %{text: "no"}) == {:error, "no"}
  end

  test "timeouts are atoms" do
    assert Compat.execute("block", %{}, timeout: 200) == {:error, :worker_timeout}
  end

  test "a call that waits too long, and one too many" do
    workers = [python(threads: 1, max_concurrent: 1, id: "one")]
    mux = start_mux!(workers, max_queue: 1)
    running = Task.async(fn -> Compat.execute("block", %{}, pool: mux, timeout: 3_000) end)
    eventually(fn -> Compat.get_stats(mux).busy == 1 end)
    waiting = Task.async(fn -> Compat.execute("echo", %{}, pool: mux, timeout: 1_000) end)
    eventually(fn -> Compat.get_stats(mux).queued == 1 end)
    assert Compat.execute("echo", %{}, pool: mux) == {:error, :pool_saturated}
    assert Task.await(waiting) == {:error, :queue_timeout}
    assert Task.await(running) == {:error, :worker_timeout}
  end

  test "an instance that is not there has no workers" do
    assert Compat.execute("echo", %{}, pool: :no_such_pool) == {:error, :no_workers}
    assert %{workers: 0, available: 0} = Compat.get_stats(:no_such_pool)
  end

  test "a session keeps its worker" do
    for n <- 1..3, do: assert({:ok, %{"total" => ^n}} = Compat.execute_in_session("s", "count_up", %{by: 1}))
    assert {:ok, %{"total" => 4}} = Compat.execute("count_up", %{by: 1}, session_id: "s")
  end

  test "a stream calls back in the caller" do
    me = self()
    assert :ok = Compat.execute_stream("numbers", %{name: "compat", count: 3}, &send(me, {self(), &1["n"]}))
    for n <- 0..2, do: assert_received({^me, ^n})
    args = %{name: "compat", count: 3, fail_at: 1}
    assert {:error, text} = Compat.execute_stream("numbers", args, fn _ -> :ok end)
    assert is_binary(text)
  end

  test "stats have the keys that they had" do
    Compat.execute("ping", %{})
    stats = Compat.get_stats()
    assert %{workers: 2, queued: 0, queue_timeouts: 0, pool_saturated: 0} = stats
    assert stats.requests > 0 and stats.available + stats.busy == 2
  end

  test "without a configured instance it says what to do" do
    assert_raise ArgumentError, ~r/mux: MyApp.ML/, fn ->
      Application.put_env(:snakemux, Compat, [])

      try do
        Compat.execute("ping", %{})
      after
        Application.put_env(:snakemux, Compat, mux: :compat)
      end
    end
  end
end
