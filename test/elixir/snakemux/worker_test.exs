defmodule Snakemux.WorkerTest do
  use Snakemux.Case, async: true

  alias Snakemux.{Error, Worker}

  @legacy_worker Path.expand("../../legacy/legacy_worker.py", __DIR__)

  defmodule OldAdapter do
    def executable_path, do: System.get_env("SNAKEMUX_PYTHON")
    def script_path, do: Path.expand("../../legacy/legacy_worker.py", __DIR__)
    def script_args, do: ["--mode", "pool-worker"]
  end

  defp start!(opts) do
    {:ok, worker} = start_supervised({Worker, opts})
    worker
  end

  test "a worker on a port, and all kinds of calls" do
    {:python, opts} = python()
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)

    worker = start!([adapter: Snakemux.Adapters.GRPCPython, port: port] ++ opts)
    assert {:ok, %{"sum" => 3}} = Worker.execute(worker, "add", %{a: 1, b: 2}, 10_000)
    assert {:ok, "A"} = Worker.execute(worker, "shout", %{text: "a"})
    assert {:error, %Error{code: :deadline_exceeded}} = Worker.execute(worker, "block", %{}, 200)

    me = self()
    assert :ok = Worker.execute_stream(worker, "numbers", %{name: "w", count: 2}, &send(me, {self(), &1["n"]}))
    assert_received {^me, 0}
    assert_received {^me, 1}

    for n <- 1..2, do: assert({:ok, %{"total" => ^n}} = Worker.execute_in_session(worker, "s", "count_up", %{by: 1}))
    assert {:ok, [%{target: target}]} = Snakemux.workers(elem(Process.info(worker, :registered_name), 1))
    assert target == "ipv4:127.0.0.1:#{port}"
  end

  test "without a module it is the old generic worker" do
    worker = start!([])

    assert {:ok, %{"status" => "error", "error" => "Division by zero"}} =
             Worker.execute(worker, "compute", %{operation: "divide", a: 1, b: 0})
  end

  test "an adapter of the old pool is run behind wrap" do
    worker = start!(adapter: OldAdapter, name: :old_worker)
    assert {:ok, %{"bridge_type" => "generic"}} = Worker.execute(worker, "ping")
    assert {:ok, [1, nil, "é"]} = Worker.execute(:old_worker, "value", %{value: [1, nil, "é"]})
    assert {:error, %Error{message: "no", origin: :worker}} = Worker.execute(worker, "fail", %{text: "no"})
    assert {:error, %Error{code: :unimplemented}} = Worker.execute_stream(worker, "ping_stream", %{}, & &1)
  end

  test "old and new workers in one pool, by weight and by command" do
    command = [System.get_env("SNAKEMUX_PYTHON"), @legacy_worker]

    mux =
      start_mux!([
        {:legacy, argv: command, id: "json", protocol: :json, weight: 90},
        {:legacy, adapter: OldAdapter, commands: ["info"], id: "info"},
        python(weight: 10, id: "new")
      ])

    workers = fn command, count ->
      for _ <- 1..count, {:ok, _} = Snakemux.execute(mux, command, %{}), do: :ok
      {:ok, %{workers: workers}} = Snakemux.stats(mux)
      Map.new(workers, fn {id, %{calls: calls}} -> {id, calls} end)
    end

    assert %{"info" => 0} = workers.("ping", 5)
    assert {:ok, %{"pid" => _}} = Snakemux.execute(mux, "sleep", %{seconds: 0})

    assert {:ok, %{"bridge_info" => %{"name" => "Generic Bridge"}}} =
             Snakemux.execute(mux, "info", %{}, worker: "info")

    assert {:error, %Error{}} = Snakemux.execute(mux, "echo", %{}, worker: "info")
  end

  test "a worker that dies in a call is started again" do
    worker = start!(adapter: OldAdapter)
    assert {:error, %Error{code: :unavailable}} = Worker.execute(worker, "leave")
    # A call that meets the connection as it closes is refused, not sent.
    assert eventually(fn -> match?({:ok, %{"status" => "ok"}}, Worker.execute(worker, "echo")) end)
  end

  test "a spec that is wrong says what is right" do
    assert_raise ArgumentError, ~r/adapter/, fn -> Snakemux.start_link(name: :x, workers: [{:legacy, id: "x"}]) end

    assert_raise ArgumentError, ~r/script_args/, fn ->
      Snakemux.start_link(name: :x, workers: [{:legacy, adapter: String}])
    end
  end
end
