defmodule Snakemux do
  @moduledoc """
  Calls and streams to workers in Python, or any language with a gRPC server, through one port program.

  An instance is a child of your supervision tree: one port program, and its workers.

      children = [
        {Snakemux, name: MyApp.ML, workers: [
          {:python, module: "my_workers", count: 4, path: {:priv, :my_app, "python"}},
          {:exec, ["/usr/bin/python3", "old_worker.py", "--port", "{port}"], id: "old"},
          {:attach, "ipv4:10.0.0.5:50051", id: "gpu-1", max_concurrent: 8}
        ]}
      ]

  Then, from any process:

      {:ok, result} = Snakemux.execute(MyApp.ML, "predict", %{x: [1.0, 2.0]})

      MyApp.ML
      |> Snakemux.stream!("batches", %{items: items})
      |> Enum.each(&IO.inspect/1)

  ## Workers

    * `{:python, options}` - a module with our Python library. `:module` (`"pkg"`, its `worker`, or `"pkg:name"`),
      `:path` (where it is: a directory, `{:priv, app, dir}`, or a list of these), `:python` (the interpreter; else
      `$SNAKEMUX_PYTHON`, `$VIRTUAL_ENV`, `python3`), `:threads`, `:args`, `:stuck_grace` (milliseconds), and the options
      of `:exec`
    * `{:exec, argv, options}` - any command that serves gRPC where it is told: `{port}`, `{address}`, `{index}` and
      `{id}` in `argv` and `:env` are filled in. `:count` (then ids are `id-0`, `id-1`, …), `:start_concurrency` (how
      many of them start at once; else as many as there are schedulers), `:env` (a map), `:env_inherit` (`:all`,
      `:none` or a list of names), `:cd`, `:port` (what fills `{port}`; else a free one), `:on_stuck` (`:restart` or
      `:ignore`), `:kill_unresponsive`, and the options of `:attach`
    * `{:legacy, options}` - a stdin/stdout worker of an old pool, behind `snakemux wrap`: one call at a time, no streams.
      `:adapter` (the module of the old adapter) or `:argv` (its command), `:protocol` (`:auto`, `:json` or `:msgpack`),
      `:stuck_grace` (milliseconds), and the options of `:exec`
    * `{:attach, target, options}` - a server that runs already, at `ipv4:…`, `ipv6:…`, `dns:…`, `unix:…` or
      `unix-abstract:…`. `:id`, `:ready_timeout` (milliseconds), `:weight`, `:max_concurrent` (calls at once),
      `:commands` (`:all` or a list), `:codec`, `:keepalive`, `:health_interval`, `:unresponsive_after`,
      `:bdp_probe`, `:stream_window` (bytes), `:ca_file` (TLS), `:authority`

  ## Values

  Arguments are a map with atom, binary or integer keys. Strings, numbers, booleans, `nil`, lists and maps go to the
  worker and come back; wrap bytes that are not UTF-8 as `{:bin, bytes}`. Keys and strings of results are binaries,
  and nothing from a worker becomes an atom. A NumPy array is a `Snakemux.Tensor`, both ways.

  ## Options of calls

    * `:timeout` - milliseconds for everything: queue, wire and handler; or `:infinity`. Default: 30_000
    * `:worker` - the id of the one worker that shall take the call. Default: any that takes the command
    * `:session` - keeps calls with the same session on one worker, which keeps its state
    * `:on_session_lost` - `:error` (once, the default) or `:move` when the worker of the session is gone
    * `:credit` - of a stream: how many chunks may be under way before they are consumed. Default: 16
    * `:wait_for_ready` - wait for a worker that is starting, else fail at once. Default: `true`
    * `:codec` - `:terms` (the default: the worker's own), `:json`, `:msgpack` or `:raw`
    * `:metadata` - a map of strings, sent as gRPC metadata
    * `:request_id` - a string of yours in the worker's log. Default: generated
    * `:compression` - `:gzip` compresses the request

  An option that is unknown or has a wrong value raises `ArgumentError`. What goes wrong at run time is always
  `{:error, %Snakemux.Error{}}`, also when the instance is down.

  ## Messages

  `execute_async/4` and `execute_stream/4` return a reference at once; what comes are messages to the caller, read
  with `next/2` or matched in `handle_info/2`:

      {:snakemux, ref, {:ok, result}}     # the end of a call
      {:snakemux, ref, {:chunk, chunk}}
      {:snakemux, ref, :passive}          # the credit is used up: go on with credit/2
      {:snakemux, ref, {:done, meta}}     # the end of a stream
      {:snakemux, ref, {:error, error}}   # the end of either; a map here, see Snakemux.Error.exception/1
  """

  alias Snakemux.Error

  @typedoc "The name of an instance."
  @type mux :: atom()
  @type command :: String.t()
  @type args :: %{optional(atom() | String.t() | integer()) => term()}
  @typedoc "Options of a call, see the head of this page."
  @type options :: keyword() | map()
  @typedoc "Names a call in progress, opaque."
  @type ref :: term()
  @type result :: term()
  @typedoc "What is known of an answer: worker, incarnation, request_id, duration_us, chunks, …"
  @type meta :: map()
  @type worker_id :: String.t()
  @type session :: String.t()
  @type worker_spec ::
          {:python, keyword() | map()}
          | {:exec, argv :: [String.t()], keyword() | map()}
          | {:legacy, keyword() | map()}
          | {:attach, target :: String.t(), keyword() | map()}

  @doc """
  Starts an instance, linked to the caller. Usually `{Snakemux, options}` in a supervision tree does.

    * `:name` - an atom, required
    * `:workers` - a list of `t:worker_spec/0`, see the head of this page
    * `:drain_timeout` - milliseconds that running calls have to end when the instance stops. Default: 10_000
    * `:program` - the path of the port program. Default: the one in our `priv`
    * `:max_message` - bytes of one message, arguments or a result or a chunk, here and in the workers that are started.
      Default: 64 MiB
    * `:max_frame`, `:max_buffered` (bytes), `:max_queue`, `:max_calls`, `:max_sessions` and `:session_ttl`
      (milliseconds) - limits of the port program

  It returns before the workers are ready: calls wait for them, and so does `await_ready/2`.
  """
  @spec start_link(keyword() | map()) :: Supervisor.on_start()
  def start_link(opts), do: :snakemux.start_link(opts)

  @doc "For `{Snakemux, options}` in a supervision tree. The id is the name."
  @spec child_spec(keyword() | map()) :: Supervisor.child_spec()
  def child_spec(opts), do: :snakemux.child_spec(opts)

  @doc """
  Waits until workers are ready.

    * `:workers` - how many, or `:all`, the default
    * `:timeout` - milliseconds. Default: 30_000

  The error tells which workers are not, and what they said last.
  """
  @spec await_ready(mux(), keyword() | map()) :: :ok | {:error, Error.t()}
  def await_ready(mux, opts \\ []), do: result(:snakemux.await_ready(mux, opts))

  @doc """
  Calls a command and waits for its result.

      iex> Snakemux.execute(:no_such_instance, "predict", %{x: 1})
      ...> |> then(fn {:error, error} -> {error.code, error.sent} end)
      {:unavailable, false}
  """
  @spec execute(mux(), command(), args(), options()) :: {:ok, result()} | {:error, Error.t()}
  def execute(mux, command, args \\ %{}, opts \\ []),
    do: result(:snakemux.execute(mux, command, args, options(opts)))

  @doc "Like `execute/4`, but returns the result, or raises `Snakemux.Error`."
  @spec execute!(mux(), command(), args(), options()) :: result()
  def execute!(mux, command, args \\ %{}, opts \\ []) do
    case execute(mux, command, args, opts) do
      {:ok, result} -> result
      {:error, error} -> raise error
    end
  end

  @doc "`execute/4` with the option `session: session`: calls of a session go to one worker, and find its state there."
  @spec execute_in_session(mux(), session(), command(), args(), options()) :: {:ok, result()} | {:error, Error.t()}
  def execute_in_session(mux, session, command, args \\ %{}, opts \\ []),
    do: result(:snakemux.execute_in_session(mux, session, command, args, options(opts)))

  @doc "Ends a session: its worker forgets its state, and its next call starts anew on any worker."
  @spec end_session(mux(), session()) :: :ok | {:error, Error.t()}
  def end_session(mux, session), do: result(:snakemux.end_session(mux, session))

  @doc """
  A lazy stream of `{:ok, chunk}`, with at most one `{:error, %Snakemux.Error{}}`, the last.

  Nothing is sent before the first chunk is asked for, the worker is never more than `:credit` chunks ahead, and
  halting (`Enum.take/2`, an exception) cancels the call at the worker. It leaves no message in the mailbox of the
  process that consumes it and touches none of its other messages.
  """
  @spec stream(mux(), command(), args(), options()) :: Enumerable.t()
  def stream(mux, command, args \\ %{}, opts \\ []) do
    opts = options(opts)
    start = fn -> :snakemux_reader.open(mux, command, args, opts) end
    Stream.resource(fn -> start end, &pull/1, &stop/1)
  end

  @doc "Like `stream/4`, but of plain chunks: an error raises `Snakemux.Error`."
  @spec stream!(mux(), command(), args(), options()) :: Enumerable.t()
  def stream!(mux, command, args \\ %{}, opts \\ []) do
    Stream.map(stream(mux, command, args, opts), fn
      {:ok, chunk} -> chunk
      {:error, error} -> raise error
    end)
  end

  @doc """
  Folds a stream: `fun.(chunk, acc)` returns `{:cont, acc}` to go on or `{:halt, acc}` to cancel and stop.

  An error brings the accumulator of the chunks that came before it.
  """
  @spec stream_fold(mux(), command(), args(), (result(), acc -> {:cont, acc} | {:halt, acc}), acc, options()) ::
          {:ok, acc} | {:error, Error.t(), acc}
        when acc: term()
  def stream_fold(mux, command, args, fun, acc, opts \\ []) do
    with {:error, error, acc} <- :snakemux.stream_fold(mux, command, args, fun, acc, options(opts)),
         do: {:error, Error.exception(error), acc}
  end

  @doc "Starts a call. Its end comes as a message, see the head of this page."
  @spec execute_async(mux(), command(), args(), options()) :: ref()
  def execute_async(mux, command, args \\ %{}, opts \\ []),
    do: :snakemux.execute_async(mux, command, args, options(opts))

  @doc "Starts a stream. `:credit` chunks come as messages, then `:passive`; `credit/2` asks for more."
  @spec execute_stream(mux(), command(), args(), options()) :: ref()
  def execute_stream(mux, command, args \\ %{}, opts \\ []),
    do: :snakemux.execute_stream(mux, command, args, options(opts))

  @doc "Takes the next message of a call from the mailbox. After `:timeout` (milliseconds) the call goes on."
  @spec next(ref(), timeout()) ::
          {:ok, result()} | {:chunk, result()} | :passive | {:done, meta()} | {:error, Error.t()} | :timeout
  def next(ref, timeout \\ :infinity), do: result(:snakemux.next(ref, timeout))

  @doc "Allows `n` more chunks of a stream, or `:infinity`."
  @spec credit(ref(), pos_integer() | :infinity) :: :ok
  def credit(ref, n), do: :snakemux.credit(ref, n)

  @doc "Cancels a call, at the worker too. Its last message still comes: `:cancelled`, or what was faster."
  @spec cancel(ref()) :: :ok
  def cancel(ref), do: :snakemux.cancel(ref)

  @doc "Cancels a call of this process and forgets it: none of its messages is in the mailbox, and none will come."
  @spec abandon(ref()) :: :ok
  def abandon(ref), do: :snakemux.abandon(ref)

  @doc "Adds a worker to a running instance, or several: the spec is one of `:workers` in `start_link/1`."
  @spec add_worker(mux(), worker_spec()) :: {:ok, worker_id() | [worker_id()]} | {:error, Error.t()}
  def add_worker(mux, spec), do: result(:snakemux.add_worker(mux, spec))

  @doc "Removes a worker: `:now`, or `{:drain, ms}` to let its calls end first, for so many milliseconds at most."
  @spec remove_worker(mux(), worker_id(), :now | {:drain, non_neg_integer()}) :: :ok | {:error, Error.t()}
  def remove_worker(mux, id, how \\ :now), do: result(:snakemux.remove_worker(mux, id, how))

  @doc "Starts the process of a worker again; of an attached one, its connection."
  @spec restart_worker(mux(), worker_id()) :: :ok | {:error, Error.t()}
  def restart_worker(mux, id), do: result(:snakemux.restart_worker(mux, id))

  @doc """
  Restarts all workers: at once, or with `rolling: true` one after the other, so that no call fails.

    * `:drain` - milliseconds that the calls of a worker have to end before it does. Default: 30_000
    * `:timeout` - milliseconds to wait for each to be ready again. Default: 60_000
  """
  @spec restart_workers(mux(), keyword() | map()) :: :ok | {:error, Error.t()}
  def restart_workers(mux, opts \\ []), do: result(:snakemux.restart_workers(mux, opts))

  @doc "The workers: a list of maps with id, state, restarts, in_flight, …; `text` says why one is down."
  @spec workers(mux()) :: {:ok, [map()]} | {:error, Error.t()}
  def workers(mux), do: result(:snakemux.workers(mux))

  @doc "The calls in progress, `limit` at most: a list of maps with command, worker, state, age_ms, …"
  @spec calls(mux(), pos_integer()) :: {:ok, [map()]} | {:error, Error.t()}
  def calls(mux, limit \\ 1_000), do: result(:snakemux.calls(mux, limit))

  @doc "The counters of an instance."
  @spec stats(mux()) :: {:ok, map()} | {:error, Error.t()}
  def stats(mux), do: result(:snakemux.stats(mux))

  @doc "Asks a worker how it is."
  @spec health(mux(), worker_id()) :: {:ok, map()} | {:error, Error.t()}
  def health(mux, id), do: result(:snakemux.health(mux, id))

  @doc "Asks a worker what it is: version, commands, capabilities, statistics."
  @spec info(mux(), worker_id()) :: {:ok, map()} | {:error, Error.t()}
  def info(mux, id), do: result(:snakemux.info(mux, id))

  defp pull(:ended), do: {:halt, :ended}
  defp pull(start) when is_function(start), do: pull(start.())

  defp pull(reader) do
    case :snakemux_reader.pull(reader) do
      {:chunk, chunk, rest} -> {[{:ok, chunk}], rest}
      {:done, _meta} -> {:halt, :ended}
      {:error, error} -> {[{:error, Error.exception(error)}], :ended}
    end
  end

  defp stop(not_running) when not_running == :ended or is_function(not_running), do: :ok
  defp stop(reader), do: abandon(elem(reader, 0))

  # In Elixir the null of a worker is nil, and its arrays are structs.
  defp options(opts), do: Map.merge(%{null: nil, tensors: :struct}, :snakemux_options.to_map(:call, opts))

  defp result({:error, error}), do: {:error, Error.exception(error)}
  defp result(other), do: other
end
