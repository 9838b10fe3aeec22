defmodule Snakemux.PoolAdapterTest do
  use Snakemux.Case, async: false

  alias Snakemux.{OldPool, PoolAdapter}

  @support Path.expand("../support", __DIR__)

  defmodule OldAdapter do
    def executable_path, do: System.get_env("SNAKEMUX_PYTHON")
    def script_path, do: Path.expand("../../legacy/legacy_worker.py", __DIR__)
    def script_args, do: ["--mode", "pool-worker"]
  end

  setup do
    on_exit(fn -> Application.delete_env(:snakemux, PoolAdapter) end)
  end

  defp configure(config), do: Application.put_env(:snakemux, PoolAdapter, config)
  defp pool!(opts), do: start_supervised!({OldPool, opts})

  defp without_time(map),
    do: Map.drop(map, ["timestamp", "uptime", "requests_handled", "bridge_info", "supported_commands"])

  test "an unmodified pool gets the same answers from fronts as from its old workers" do
    configure(handler: "snakemux.legacy:GenericHandler", timeout: 20_000, max_message: 1_000_000)

    for negotiate <- [false, true] do
      [before, now] =
        for adapter <- [OldAdapter, PoolAdapter] do
          {:ok, pool} = OldPool.start_link(adapter: adapter, size: 2, negotiate: negotiate)

          answers =
            for {command, args} <- [
                  {"ping", %{worker_id: "w"}},
                  {"echo", %{text: "größer\n\"🐍\"", list: [1, 2.5, nil, true, %{}], empty: ""}},
                  {"echo", %{large: 18_446_744_073_709_551_615, small: -9_223_372_036_854_775_808}},
                  {"compute", %{operation: "multiply", a: 6, b: 7}},
                  {"compute", %{operation: "divide", a: 1, b: 0}},
                  {"compute", %{operation: "nope"}},
                  {"nope", %{}},
                  {"info", %{}}
                ] do
              {:ok, result} = OldPool.execute(pool, command, args)
              without_time(result)
            end

          assert OldPool.health(pool) == 2
          GenServer.stop(pool)
          answers
        end

      assert now == before
    end
  end

  test "the workers of a pool share one process, and an instance beside it streams from it" do
    share = "test-#{System.unique_integer([:positive])}-#{System.pid()}"
    configure(module: "ex_workers", path: @support, share: share)
    assert PoolAdapter.target(share) == {:error, :not_running}

    {:ok, pool} = OldPool.start_link(adapter: PoolAdapter, size: 3)
    pids = for _ <- 1..6, do: elem(OldPool.execute(pool, "whoami", %{}), 1)["pid"]
    assert [pid] = Enum.uniq(pids)

    {:ok, target} = PoolAdapter.target(share)
    mux = start_mux!([{:attach, target, id: "pool"}])
    assert %{"pid" => ^pid} = Snakemux.execute!(mux, "whoami")
    sum = fn %{"n" => n}, acc -> {:cont, acc + n} end
    assert {:ok, 45} = Snakemux.stream_fold(mux, "numbers", %{name: "beside", count: 10}, sum, 0)
    assert {:ok, %{"sum" => 3}} = OldPool.execute(pool, "add", %{a: 1, b: 2})

    GenServer.stop(pool)
    eventually(fn -> not File.dir?("/proc/#{pid}") end)
  end

  test "errors are texts, and the pool goes on" do
    configure(module: "ex_workers", path: [@support])
    pool = pool!(adapter: PoolAdapter, size: 1)
    assert {:error, "no"} = OldPool.execute(pool, "fail", %{text: "no"})
    assert {:ok, "A"} = OldPool.execute(pool, "shout", %{text: "a"})
  end

  test "what it tells the pool" do
    configure(target: "unix:/run/w", commands: ["ping"], timeout: 5_000)
    assert Path.basename(PoolAdapter.executable_path()) == "snakemux"
    assert File.exists?(PoolAdapter.executable_path())
    assert PoolAdapter.script_path() == "legacy"
    assert PoolAdapter.script_args() == ["--mode", "pool-worker", "--timeout=5000", "--worker", "unix:/run/w"]
    assert PoolAdapter.supported_commands() == ["ping"]
    assert PoolAdapter.validate_command("ping", %{}) == :ok
    assert {:error, text} = PoolAdapter.validate_command("nope", %{})
    assert text =~ "ping"
    assert PoolAdapter.command_timeout("ping", %{}) == 6_000
    assert PoolAdapter.prepare_args("ping", %{a: 1}) == %{"a" => 1}
    assert PoolAdapter.process_response("ping", 1) == {:ok, 1}

    configure([])
    assert PoolAdapter.validate_command("anything", %{}) == :ok
    assert PoolAdapter.supported_commands() == ~w(ping echo compute info)
    assert_raise ArgumentError, ~r/:handler/, &PoolAdapter.script_args/0

    configure(handler: "m:H", python: "py", threads: 2, share: "ml")

    assert ["--mode", "pool-worker", "--share=ml", "--", "py", "-u", "-m", "snakemux.legacy", "m:H" | _] =
             PoolAdapter.script_args()

    configure(exec: ["worker", "{port}"])
    assert ["--mode", "pool-worker", "--", "worker", "{port}"] = PoolAdapter.script_args()
  end
end
