defmodule Snakemux.Adapters.GRPCPython do
  @moduledoc """
  A Python worker of our library, for `Snakemux.Worker` and as a worker spec.

      config :snakemux, Snakemux.Adapters.GRPCPython, module: "my_workers", path: {:priv, :my_app, "python"}

      {:ok, worker} = Snakemux.Worker.start_link(port: 50_051)

      {Snakemux, name: MyApp.ML, workers: [Snakemux.Adapters.GRPCPython.worker_spec(count: 4)]}

  Its options are those of `{:python, options}` in `Snakemux`; what the caller gives wins over the configuration. Without a
  `:module` it serves the handlers of the old generic worker: ping, echo, compute, info.
  """

  @doc """
  The worker's spec.

      iex> Snakemux.Adapters.GRPCPython.worker_spec(module: "my_workers", count: 2)
      {:python, [module: "my_workers", count: 2]}
  """
  @spec worker_spec(keyword()) :: Snakemux.worker_spec()
  def worker_spec(opts \\ []) do
    opts = Keyword.merge(Application.get_env(:snakemux, __MODULE__, []), opts)
    {:python, Keyword.put_new(opts, :module, "snakemux.legacy:generic")}
  end
end
