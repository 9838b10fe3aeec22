Code.require_file("../../examples/migration/app.ex", __DIR__)

defmodule Migration.OldPool do
  # The application's pool: in the guide it is the one that the application had.
  def child_spec(opts), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [opts]}}

  def start_link(opts) do
    {:ok, pid} = Snakemux.OldPool.start_link(opts)
    Process.register(pid, __MODULE__)
    {:ok, pid}
  end

  def execute(command, args), do: Snakemux.OldPool.execute(__MODULE__, command, args)
end

defmodule Snakemux.MigrationTest do
  use Snakemux.Case, async: false

  alias Migration.App

  for step <- [:before, 1, 2, 3] do
    test "step #{step}: the call sites see no difference" do
      App.configure(unquote(step))
      for child <- App.children(unquote(step)), do: start_supervised!(child)

      for _ <- 1..10 do
        assert {:ok, %{"status" => "ok", "score" => 4.5}} = App.score("nine eight")
      end

      assert App.fail("no such model") == {:error, "no such model"}
    end
  end

  test "between step 1 and 2: an instance streams from the pool's own worker" do
    App.configure(1)

    Application.put_env(:snakemux, Snakemux.PoolAdapter, module: "new_workers", path: python_dir(), share: App.share())

    for child <- App.children(1), do: start_supervised!(child)
    {:ok, target} = Snakemux.PoolAdapter.target(App.share())
    mux = start_mux!([{:attach, target, id: "pool"}])
    collect = fn %{"score" => score}, acc -> {:cont, [score | acc]} end
    assert {:ok, [2.0, 1.0]} = Snakemux.stream_fold(mux, "scores", %{texts: ["a", "bb"]}, collect, [])
    assert {:ok, %{"score" => 1.0}} = App.score("a")
  end

  test "step 2 moves calls by weight and by command" do
    App.configure(2)
    for child <- App.children(2), do: start_supervised!(child)
    :ok = Snakemux.await_ready(Migration.ML)
    tasks = for _ <- 1..40, do: Task.async(fn -> App.score("a b") end)
    for task <- tasks, do: assert({:ok, %{"score" => 1.0}} = Task.await(task, 20_000))
    {:ok, %{workers: workers}} = Snakemux.stats(Migration.ML)
    assert workers["old-0"].calls + workers["old-1"].calls > 0
    assert workers["new"].calls > 0

    for _ <- 1..5, do: assert(App.fail("old only") == {:error, "old only"})
    {:ok, %{workers: after_fail}} = Snakemux.stats(Migration.ML)
    assert after_fail["new"].calls == workers["new"].calls
  end

  defp python_dir, do: Path.expand("../../examples/migration/python", __DIR__)
end
