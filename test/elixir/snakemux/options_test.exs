defmodule Snakemux.OptionsTest do
  use Snakemux.Case, async: true

  setup_all do
    name = :mux_of_options_test
    start_supervised!({Snakemux, name: name, workers: []})
    %{mux: name}
  end

  # The message names the key, the value, and what is allowed.
  defp assert_names(parts, fun) do
    message = Exception.message(assert_raise(ArgumentError, fun))
    for part <- parts, do: assert(message =~ part)
  end

  test "of an instance" do
    assert_names(["name"], fn -> Snakemux.start_link(workers: []) end)
    assert_names(["name", "\"text\""], fn -> Snakemux.start_link(name: "text") end)
    assert_names(["worker", "workers"], fn -> Snakemux.start_link(name: :m, worker: []) end)
    assert_names(["workers", "42"], fn -> Snakemux.start_link(name: :m, workers: 42) end)
  end

  test "of a worker" do
    wrong = fn spec -> fn -> Snakemux.start_link(name: :m, workers: [spec]) end end
    assert_names(["module"], wrong.({:python, []}))
    assert_names(["count", "0"], wrong.({:python, module: "w", count: 0}))
    assert_names(["cuont", "count"], wrong.({:python, module: "w", cuont: 4}))
    assert_names(["ready_timeout", "soon"], wrong.({:python, module: "w", ready_timeout: :soon}))
    assert_names(["snake"], wrong.({:snake, []}))
    assert_names(["weight", "-1"], wrong.({:attach, "unix:/tmp/x", weight: -1}))
    assert_names(["id"], fn -> Snakemux.start_link(name: :m, workers: [python(id: "a"), python(id: "a")]) end)
  end

  test "of a worker that is added", %{mux: mux} do
    assert_names(["count", "\"4\""], fn -> Snakemux.add_worker(mux, {:python, module: "w", count: "4"}) end)
  end

  test "of a call", %{mux: mux} do
    for call <- [
          &Snakemux.execute(mux, "add", %{}, &1),
          &Snakemux.execute!(mux, "add", %{}, &1),
          &Snakemux.execute_async(mux, "add", %{}, &1),
          &Snakemux.execute_stream(mux, "add", %{}, &1),
          &Snakemux.stream_fold(mux, "add", %{}, fn _, a -> {:cont, a} end, 0, &1),
          &Enum.to_list(Snakemux.stream(mux, "add", %{}, &1))
        ] do
      assert_names(["timeout", "-5", "infinity"], fn -> call.(timeout: -5) end)
      assert_names(["timeuot", "timeout"], fn -> call.(timeuot: 5_000) end)
      assert_names(["codec", "yaml", "json"], fn -> call.(codec: :yaml) end)
      assert_names(["timeout_ms", "timeout"], fn -> call.([:timeout_ms]) end)
      assert_names(["5000", "map"], fn -> call.(5_000) end)
    end
  end

  test "of await_ready", %{mux: mux} do
    assert_names(["workers", "some"], fn -> Snakemux.await_ready(mux, workers: :some) end)
    assert_names(["5000", "map"], fn -> Snakemux.await_ready(mux, 5_000) end)
  end
end
