defmodule Snakemux.Compat do
  @moduledoc """
  The functions of the old pool over an instance of Snakemux, so that a call site changes by an alias:

      alias Snakemux.Compat, as: Snakepit

      {:ok, result} = Snakepit.execute("compute", %{operation: "add", a: 1, b: 2})

  The instance is named in the configuration, or in the options of a call:

      config :snakemux, Snakemux.Compat, mux: MyApp.ML

      Snakepit.execute("compute", %{}, pool: MyApp.ML)

  Options: `:pool` (the instance), `:timeout` (60_000 ms, as it was), `:session_id`, and those of `Snakemux.execute/4`.

  ## Results and errors

  A result is the map that the worker answered, also where its `"status"` is `"error"`. Errors are what they were:

  | now | `{:error, …}` |
  |---|---|
  | the worker raised, or answered with an error | the text |
  | its timeout passed while it ran | `:worker_timeout` |
  | its timeout passed while it waited for a worker | `:queue_timeout` |
  | too many calls wait | `:pool_saturated` |
  | no worker can be reached, or there is none | `:no_workers` |
  | the worker ended during the call | `:worker_exit` |
  | cancelled | `:cancelled` |
  | anything else | the `Snakemux.Error` |

  Different from the old pool: a timeout cancels the call at the worker, which is free for the next one; and
  `execute_in_session/4` stays on its worker, where the old pool took another one under load.
  """

  alias Snakemux.Error

  @timeout 60_000

  @type opts :: keyword()
  @type reason ::
          :worker_timeout
          | :queue_timeout
          | :pool_saturated
          | :no_workers
          | :worker_exit
          | :cancelled
          | String.t()
          | Error.t()

  @doc "Runs a command and waits for its result."
  @spec execute(String.t() | atom(), map(), opts()) :: {:ok, term()} | {:error, reason()}
  def execute(command, args \\ %{}, opts \\ []) do
    {mux, opts} = split(opts)
    mux |> Snakemux.execute(to_string(command), args, opts) |> old()
  end

  @doc "The same, on the worker that keeps this session's state."
  @spec execute_in_session(String.t(), String.t() | atom(), map(), opts()) :: {:ok, term()} | {:error, reason()}
  def execute_in_session(session_id, command, args \\ %{}, opts \\ []) do
    execute(command, args, Keyword.put(opts, :session_id, session_id))
  end

  @doc "Calls `callback` in this process with each chunk, and returns when the stream has ended."
  @spec execute_stream(String.t() | atom(), map(), (term() -> any()), opts()) :: :ok | {:error, reason()}
  def execute_stream(command, args, callback, opts \\ []) when is_function(callback, 1) do
    {mux, opts} = split(opts)

    each = fn chunk, :ok ->
      callback.(chunk)
      {:cont, :ok}
    end

    case Snakemux.stream_fold(mux, to_string(command), args, each, :ok, opts) do
      {:ok, :ok} -> :ok
      {:error, error, :ok} -> {:error, reason(error)}
    end
  end

  @doc """
  Counters and workers in the shape that they had: `workers`, `available`, `busy`, `queued`, `requests`, `errors`. What
  the port program doesn't count, `queue_timeouts` and `pool_saturated`, is 0.
  """
  @spec get_stats(Snakemux.mux() | nil) :: map()
  def get_stats(mux \\ nil) do
    case Snakemux.stats(mux || default()) do
      {:ok, stats} ->
        ready = for {_, %{state: :ready, in_flight: n}} <- stats.workers, do: n
        busy = Enum.count(ready, &(&1 > 0))
        counted = %{requests: stats.started, queued: stats.queued, errors: stats.failed}
        Map.merge(counted, pool(map_size(stats.workers), length(ready) - busy, busy))

      {:error, _} ->
        Map.merge(%{requests: 0, queued: 0, errors: 0}, pool(0, 0, 0))
    end
  end

  defp pool(workers, available, busy),
    do: %{workers: workers, available: available, busy: busy, queue_timeouts: 0, pool_saturated: 0}

  @doc """
  What the old pool called an error.

      iex> Snakemux.Compat.reason(%Snakemux.Error{code: :deadline_exceeded, message: "", origin: :mux, sent: false})
      :queue_timeout

      iex> Snakemux.Compat.reason(%Snakemux.Error{code: :unknown, message: "no", origin: :worker, reason: :application, sent: true})
      "no"
  """
  @spec reason(Error.t()) :: reason()
  def reason(%Error{origin: :worker, reason: :application, message: message}), do: message
  def reason(%Error{code: :deadline_exceeded, sent: true}), do: :worker_timeout
  def reason(%Error{code: :deadline_exceeded}), do: :queue_timeout
  def reason(%Error{reason: reason}) when reason in [:queue_full, :too_many_calls], do: :pool_saturated
  def reason(%Error{code: :unavailable, sent: true}), do: :worker_exit
  def reason(%Error{code: :unavailable}), do: :no_workers
  def reason(%Error{code: :cancelled}), do: :cancelled
  def reason(%Error{} = error), do: error

  defp old({:ok, result}), do: {:ok, result}
  defp old({:error, error}), do: {:error, reason(error)}

  defp split(opts) do
    {mux, opts} = Keyword.pop_lazy(opts, :pool, &default/0)
    {session, opts} = Keyword.pop(opts, :session_id)
    opts = Keyword.put_new(opts, :timeout, @timeout)
    {mux, if(session, do: Keyword.put(opts, :session, session), else: opts)}
  end

  defp default do
    :snakemux |> Application.get_env(__MODULE__, []) |> Keyword.get(:mux) ||
      raise ArgumentError, "which instance? config :snakemux, Snakemux.Compat, mux: MyApp.ML (or the option :pool)"
  end
end
