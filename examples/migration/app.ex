defmodule Migration.App do
  @moduledoc """
  The application of docs/MIGRATION.md. Its call sites never change; which workers answer them is the configuration's.
  """

  @dir __DIR__
  @python Path.join(@dir, "python")

  @doc "A call site of the old pool, in all steps."
  def score(text), do: calls().execute("score", %{text: text})

  @doc "Another one."
  def fail(text), do: calls().execute("fail", %{text: text})

  @doc "What is to be started in a step, and through which module its call sites go."
  def children(step), do: children(step, config(step))

  # One instance, whatever stands behind it, with the old functions in front of it.
  defp children(_, workers: workers), do: [{Snakemux, name: Migration.ML, workers: workers}]
  defp children(_, adapter: adapter), do: [{Migration.OldPool, adapter: adapter, size: 2}]

  @doc """
  The three configurations.

  Step 1 is the old pool with another executable: `Snakemux.PoolAdapter` instead of the old adapter. Step 2 is one instance with
  old workers behind `snakemux wrap` and a new one beside them. Step 3 is gRPC workers only.
  """
  def config(:before), do: [adapter: Migration.OldAdapter]
  def config(1), do: [adapter: Snakemux.PoolAdapter]

  def config(2) do
    [
      workers: [
        {:legacy, adapter: Migration.OldAdapter, id: "old", weight: 90, count: 2, env: env()},
        {:python, module: "new_workers", path: @python, id: "new", weight: 10, commands: ["score", "scores"]}
      ]
    ]
  end

  def config(3) do
    [
      workers: [
        {:python, module: "new_workers", path: @python, id: "new", commands: ["score", "scores"]},
        {:exec, handlers(), id: "handlers", commands: ["ping", "fail"], env: env()}
      ]
    ]
  end

  @doc "What stands in config/runtime.exs in each step."
  def configure(step) do
    Application.put_env(:snakemux, Snakemux.PoolAdapter, handler: "my_bridge:MyHandler", path: @python, share: share())

    Application.put_env(:snakemux, Snakemux.Compat, mux: Migration.ML)
    Application.put_env(:migration, :calls, if(step in [:before, 1], do: Migration.OldPool, else: Snakemux.Compat))
  end

  def share, do: "migration-#{System.pid()}"

  defp handlers, do: [python(), "-m", "snakemux.legacy", "my_bridge:MyHandler", "--address", "{address}"]
  defp python, do: :snakemux_spec.interpreter(%{}) |> List.to_string()
  defp env, do: %{"PYTHONPATH" => Enum.join([@python, library()], ":")}
  defp library, do: :filename.join(:snakemux_options.priv_dir(), ~c"python") |> List.to_string()
  defp calls, do: Application.fetch_env!(:migration, :calls)
end

defmodule Migration.OldAdapter do
  @moduledoc "The adapter that the application had: its old script under env(1), which finds the handlers' library."

  def executable_path, do: "/usr/bin/env"
  def script_path, do: "PYTHONPATH=#{:filename.join(:snakemux_options.priv_dir(), ~c"python")}"

  def script_args do
    interpreter = List.to_string(:snakemux_spec.interpreter(%{}))
    [interpreter, Path.join(__DIR__, "python/old_bridge.py"), "--mode", "pool-worker"]
  end
end
