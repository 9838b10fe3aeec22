defmodule Snakemux.PoolAdapter do
  @moduledoc """
  An adapter for the old pool whose workers are fronts of Snakemux: nothing else of the pool changes.

      config :snakepit, adapter_module: Snakemux.PoolAdapter

      config :snakemux, Snakemux.PoolAdapter,
        handler: "my_bridge:MyHandler",        # a class with process_command/2, served as it is
        path: {:priv, :my_app, "python"},      # where its module is
        share: "ml"                            # one Python process for the whole pool

  Each worker of the pool then is `snakemux legacy`, which speaks the old protocol and calls a gRPC worker. What that
  is, one of these says:

    * `:handler` - `"module:Class"`, a handler of the old kind (`python -m snakemux.legacy`)
    * `:module` - `"module"` or `"module:name"`, a worker of our Python library (`python -m snakemux`)
    * `:exec` - a command with `{address}` or `{port}` in it, a list
    * `:target` - `"unix:/path"` or `"ipv4:host:port"`, a worker that runs already

  And: `:path` (a directory, `{:priv, app, dir}`, or a list), `:python` (else `$SNAKEMUX_PYTHON`, `$VIRTUAL_ENV`,
  `python3`), `:threads`, `:share` (a name), `:timeout` (ms; below the pool's own), `:max_message` (bytes), `:commands`
  (`:all`, or the list that `validate_command/2` allows). It is read when a worker starts, and all paths are those of the
  release.
  """

  @commands ~w(ping echo compute info)
  @timeout 29_000

  @doc "The port program."
  @spec executable_path() :: String.t()
  def executable_path, do: List.to_string(:filename.join(:snakemux_options.priv_dir(), ~c"snakemux"))

  @doc "Its subcommand, where the pool wants the path of a script."
  @spec script_path() :: String.t()
  def script_path, do: "legacy"

  @doc "The options and the command of the worker, from the configuration."
  @spec script_args() :: [String.t()]
  def script_args do
    config = config()
    flags = for key <- [:share, :timeout, :max_message], value = config[key], do: "--#{dashed(key)}=#{value}"
    ["--mode", "pool-worker"] ++ flags ++ worker(Map.new(config))
  end

  @doc "`:commands` of the configuration."
  @spec supported_commands() :: [String.t()]
  def supported_commands do
    case commands() do
      :all -> @commands
      commands -> commands
    end
  end

  @doc "Whether the pool may send it."
  @spec validate_command(String.t(), map()) :: :ok | {:error, String.t()}
  def validate_command(command, _args) do
    commands = commands()

    if commands == :all or command in commands,
      do: :ok,
      else: {:error, "unsupported command #{command}: there are #{Enum.join(commands, ", ")}"}
  end

  @doc "The arguments, with string keys."
  @spec prepare_args(String.t(), map()) :: map()
  def prepare_args(_command, args), do: Map.new(args, fn {key, value} -> {to_string(key), value} end)

  @doc "The response as it is."
  @spec process_response(String.t(), term()) :: {:ok, term()} | {:error, term()}
  def process_response(_command, response), do: {:ok, response}

  @doc "A second more than the front takes to answer in any case."
  @spec command_timeout(String.t(), map()) :: pos_integer()
  def command_timeout(_command, _args), do: Keyword.get(config(), :timeout, @timeout) + 1_000

  @doc """
  Where the shared worker of this name listens, for an instance that attaches to it beside the pool. Only there once a
  front has run.

      {:ok, target} = Snakemux.PoolAdapter.target("ml")
      {Snakemux, name: MyApp.Streams, workers: [{:attach, target, id: "pool"}]}
  """
  @spec target(String.t()) :: {:ok, String.t()} | {:error, :not_running}
  def target(share) do
    case [directory(), share, "address"] |> Path.join() |> File.read() do
      {:ok, "unix:" <> _ = address} -> {:ok, trim(address)}
      {:ok, address} -> {:ok, "ipv4:" <> trim(address)}
      {:error, _} -> {:error, :not_running}
    end
  end

  defp trim(address), do: address |> String.trim_trailing(<<0>>) |> String.trim()

  # As keeper.c has it.
  defp directory do
    case System.get_env("XDG_RUNTIME_DIR") do
      "/" <> _ = base when byte_size(base) < 50 -> Path.join(base, "snakemux_legacy")
      _ -> "/tmp/snakemux_legacy-#{user_id()}"
    end
  end

  defp user_id, do: File.stat!("/proc/self").uid

  defp worker(%{target: target}), do: ["--worker", target]
  defp worker(%{exec: argv}), do: ["--" | argv]
  defp worker(%{handler: handler} = config), do: ["--" | python("snakemux.legacy", handler, config)]
  defp worker(%{module: module} = config), do: ["--" | python("snakemux", module, config)]

  defp worker(_) do
    raise ArgumentError,
          "config :snakemux, Snakemux.PoolAdapter: one of :handler, :module, :exec and :target is wanted"
  end

  # Ports of the pool set no environment, so env(1) does.
  defp python(library, name, config) do
    threads = for n <- List.wrap(config[:threads]), do: "--threads=#{n}"
    interpreter = config |> Map.take([:python]) |> :snakemux_spec.interpreter() |> List.to_string()
    argv = [interpreter, "-u", "-m", library, name, "--address", "{address}" | threads]

    case :snakemux_spec.path(Map.get(config, :path, [])) do
      [] -> argv
      path -> ["/usr/bin/env", "PYTHONPATH=#{Enum.join(path ++ [library_path()], ":")}" | argv]
    end
  end

  defp library_path, do: :filename.join(:snakemux_options.priv_dir(), ~c"python")
  defp commands, do: Keyword.get(config(), :commands, :all)
  defp config, do: Application.get_env(:snakemux, __MODULE__, [])
  defp dashed(key), do: key |> Atom.to_string() |> String.replace("_", "-")
end
