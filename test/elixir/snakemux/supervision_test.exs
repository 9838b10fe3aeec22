defmodule Snakemux.SupervisionTest do
  use Snakemux.Case, async: true

  alias Snakemux.Error

  test "an instance lives and dies in the tree of its user, with every process of it" do
    children = [{Snakemux, name: MyApp.ML, workers: [python(count: 2)]}]
    {:ok, supervisor} = Supervisor.start_link(children, strategy: :one_for_one)
    assert [{MyApp.ML, pid, :supervisor, _}] = Supervisor.which_children(supervisor)
    assert is_pid(pid)

    assert :ok = Snakemux.await_ready(MyApp.ML, workers: :all, timeout: 30_000)
    pids = for id <- ["py-0", "py-1"], do: Snakemux.execute!(MyApp.ML, "whoami", %{}, worker: id)["pid"]
    assert Enum.all?(pids, &File.exists?("/proc/#{&1}"))

    :ok = Supervisor.stop(supervisor)
    assert eventually(fn -> not Enum.any?(pids, &File.exists?("/proc/#{&1}")) end)
    assert {:error, %Error{code: :unavailable}} = Snakemux.execute(MyApp.ML, "whoami")
  end

  test "two instances live side by side" do
    a = start_mux!([python(id: "a")])
    b = start_mux!([python(id: "b")])
    refute a == b
    assert Snakemux.execute!(a, "whoami", %{}, worker: "a")["pid"] != Snakemux.execute!(b, "whoami")["pid"]
    assert {:error, %Error{}} = Snakemux.execute(a, "whoami", %{}, worker: "b")
  end

  test "a worker that dies comes back, and the others go on" do
    mux = start_mux!([python(count: 2)])
    before = Snakemux.execute!(mux, "whoami", %{}, worker: "py-0")["pid"]

    assert {:error, %Error{code: :unavailable, origin: :transport, worker: "py-0", sent: true}} =
             Snakemux.execute(mux, "crash", %{}, worker: "py-0")

    assert Snakemux.execute!(mux, "add", %{a: 1, b: 1}) == %{"sum" => 2}
    pid = fn -> Snakemux.execute(mux, "whoami", %{}, worker: "py-0") end
    assert eventually(fn -> match?({:ok, %{"pid" => new}} when new != before, pid.()) end)
  end

  test "a session whose worker died is lost, once" do
    mux = start_mux!([python(count: 2)])
    assert {:ok, %{"total" => 1}} = Snakemux.execute_in_session(mux, "s", "count_up", %{by: 1})
    assert {:error, %Error{code: :unavailable}} = Snakemux.execute(mux, "crash", %{}, session: "s")

    assert {:error, %Error{code: :failed_precondition, reason: :session_lost, sent: false} = lost} =
             Snakemux.execute(mux, "count_up", %{by: 1}, session: "s")

    assert Exception.message(lost) =~ "failed_precondition (session_lost)"
    assert {:ok, %{"total" => 1}} = Snakemux.execute(mux, "count_up", %{by: 1}, session: "s")
  end

  test "workers come and go while it runs" do
    mux = start_mux!([])
    assert {:error, %Error{code: :unavailable, reason: :no_worker}} = Snakemux.execute(mux, "whoami")

    assert {:ok, "late"} = Snakemux.add_worker(mux, python(id: "late", env: %{"CUDA_VISIBLE_DEVICES" => "{index}"}))
    assert {:error, %Error{code: :already_exists}} = Snakemux.add_worker(mux, python(id: "late"))
    assert %{"pid" => pid, "cuda" => "0"} = Snakemux.execute!(mux, "whoami")

    assert :ok = Snakemux.restart_worker(mux, "late")
    assert eventually(fn -> match?({:ok, %{"pid" => new}} when new != pid, Snakemux.execute(mux, "whoami")) end)

    assert :ok = Snakemux.remove_worker(mux, "late", {:drain, 1_000})
    assert {:ok, []} = Snakemux.workers(mux)
    assert {:error, %Error{code: :not_found}} = Snakemux.remove_worker(mux, "late")
  end

  test "a rolling restart replaces every worker, and no call fails" do
    mux = start_mux!([python(count: 2)])
    pids = fn -> for id <- ["py-0", "py-1"], do: Snakemux.execute!(mux, "whoami", %{}, worker: id)["pid"] end
    before = pids.()

    restart = Task.async(fn -> Snakemux.restart_workers(mux, rolling: true) end)
    calls = Stream.repeatedly(fn -> Snakemux.execute!(mux, "add", %{a: 1, b: 1}) end)
    assert calls |> Stream.take_while(fn _ -> Process.alive?(restart.pid) end) |> Enum.count() > 10
    assert Task.await(restart) == :ok
    assert Enum.all?(pids.(), &(&1 not in before))
  end

  test "{:exec, argv, options} and {:attach, target, options} are workers too" do
    python = System.get_env("SNAKEMUX_PYTHON", "python3")
    support = Path.expand("../support", __DIR__)
    argv = [python, Path.join(support, "ex_workers.py"), "--address", "{address}"]
    library = Path.join(:code.priv_dir(:snakemux), "python")
    mux = start_mux!([{:exec, argv, id: "mine", env: %{"PYTHONPATH" => library}}])
    assert Snakemux.execute!(mux, "shout", %{text: "a"}) == "A"

    {:ok, [%{target: target}]} = Snakemux.workers(mux)
    other = start_mux!([{:attach, target, id: "shared", max_concurrent: 8}])
    assert Snakemux.execute!(other, "whoami") == Snakemux.execute!(mux, "whoami")
  end

  test "await_ready says what a worker said last" do
    name = :mux_that_never_is
    start_supervised!({Snakemux, name: name, workers: [{:python, module: "no_such_module_here"}]})

    eventually(fn ->
      assert {:error, %Error{} = error} = Snakemux.await_ready(name, timeout: 100)
      Exception.message(error) =~ "no_such_module_here"
    end)
  end
end
