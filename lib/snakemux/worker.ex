defmodule Snakemux.Worker do
  @moduledoc """
  One worker and the calls to it: the worker API that the old pool had planned.

      {:ok, worker} = Snakemux.Worker.start_link(adapter: Snakemux.Adapters.GRPCPython, port: 50_051)
      {:ok, result} = Snakemux.Worker.execute(worker, "predict", %{x: 1}, 5_000)
      :ok = Snakemux.Worker.execute_stream(worker, "batches", %{items: [1, 2]}, &IO.inspect/1)

  It is an instance of Snakemux with one worker; everything of `Snakemux` works with it as well, by its `:name`.
  """

  @timeout 30_000

  @typedoc "What `start_link/1` returned, or its `:name`."
  @type t :: pid() | atom()

  @doc """
  Starts it, linked to the caller.

    * `:adapter` - a module with `worker_spec/1`, as `Snakemux.Adapters.GRPCPython` (the default); or an adapter of the old
      pool, whose stdin/stdout worker is then run behind `snakemux wrap`
    * `:port` - where the worker listens, on 127.0.0.1. Default: a socket of its own
    * `:name` - an atom. Default: a new one
    * others go to the worker's spec, see `Snakemux`
  """
  @spec start_link(keyword()) :: Supervisor.on_start()
  def start_link(opts) do
    {adapter, opts} = Keyword.pop(opts, :adapter, Snakemux.Adapters.GRPCPython)
    {name, opts} = Keyword.pop_lazy(opts, :name, &new_name/0)
    Snakemux.start_link(name: name, workers: [spec(adapter, opts)])
  end

  @doc "For a supervision tree."
  @spec child_spec(keyword()) :: Supervisor.child_spec()
  def child_spec(opts) do
    %{id: Keyword.get(opts, :name, __MODULE__), start: {__MODULE__, :start_link, [opts]}, type: :supervisor}
  end

  @doc "Runs a command and waits for its result, `timeout` milliseconds at most."
  @spec execute(t(), String.t(), map(), timeout()) :: {:ok, term()} | {:error, Snakemux.Error.t()}
  def execute(worker, command, args \\ %{}, timeout \\ @timeout) do
    Snakemux.execute(name(worker), command, args, timeout: timeout)
  end

  @doc "Calls `callback` in this process with each chunk, and returns when the stream has ended."
  @spec execute_stream(t(), String.t(), map(), (term() -> any()), timeout()) :: :ok | {:error, Snakemux.Error.t()}
  def execute_stream(worker, command, args, callback, timeout \\ @timeout) when is_function(callback, 1) do
    each = fn chunk, :ok ->
      callback.(chunk)
      {:cont, :ok}
    end

    case Snakemux.stream_fold(name(worker), command, args, each, :ok, timeout: timeout) do
      {:ok, :ok} -> :ok
      {:error, error, :ok} -> {:error, error}
    end
  end

  @doc "Runs a command with the state that the worker keeps for this session."
  @spec execute_in_session(t(), String.t(), String.t(), map(), timeout()) ::
          {:ok, term()} | {:error, Snakemux.Error.t()}
  def execute_in_session(worker, session_id, command, args \\ %{}, timeout \\ @timeout) do
    Snakemux.execute_in_session(name(worker), session_id, command, args, timeout: timeout)
  end

  @doc "Ends the worker, after the calls that run."
  @spec stop(t()) :: :ok
  def stop(worker), do: Supervisor.stop(worker)

  defp spec(adapter, opts) do
    if Code.ensure_loaded?(adapter) and function_exported?(adapter, :worker_spec, 1),
      do: adapter.worker_spec(opts),
      else: {:legacy, Keyword.put(opts, :adapter, adapter)}
  end

  # Instances are known by name, and there are as many of these as workers were started.
  defp new_name, do: :"#{inspect(__MODULE__)}.#{System.unique_integer([:positive])}"

  defp name(worker) when is_atom(worker), do: worker

  defp name(worker) when is_pid(worker) do
    case Process.info(worker, :registered_name) do
      {:registered_name, name} -> name
      _ -> :"snakemux worker that has ended"
    end
  end
end
