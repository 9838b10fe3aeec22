defmodule Mix.Tasks.Compile.Snakemux do
  @moduledoc """
  Builds the port program and copies the Python library, both into the build's own `priv`.

  Where the source tree has a `priv/` (rebar3 or a plain `make` put it there), Mix makes the build's `priv` a link to
  it, and the same files are built there: one program, whoever built it last.
  """
  use Mix.Task.Compiler

  @needs "On Debian it needs: build-essential erlang-dev libgrpc-dev libprotobuf-c-dev protobuf-c-compiler " <>
           "protobuf-compiler libmsgpack-dev libyajl-dev zlib1g-dev"

  # A make above us must not hand us its job server or its variables.
  @env for name <- ~w(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES), do: {name, nil}

  @impl true
  def run(_args) do
    priv = Path.join(Mix.Project.app_path(), "priv")

    cond do
      # Only a link: Mix would copy a priv/ of the source tree over a directory of the build's own.
      File.dir?("priv") and match?({:error, _}, File.read_link(priv)) ->
        File.rm_rf!(priv)
        Mix.Project.build_structure()

      # The priv/ of the source tree has gone, and left a link to nothing.
      not File.dir?(priv) ->
        File.rm(priv)
        File.mkdir_p!(priv)

      true ->
        :ok
    end

    make("c_src", ["-j#{System.schedulers_online()}", "PRIV_DIR=#{priv}", "BUILD_DIR=#{build_dir()}"])
    make("python", ["install-priv", "PRIV_DIR=#{priv}"])
    {:ok, []}
  end

  @impl true
  def clean do
    File.rm_rf!(build_dir())

    for name <- ~w(snakemux snakemux_legacy python),
        do: File.rm_rf!(Path.join([Mix.Project.app_path(), "priv", name]))

    :ok
  end

  defp build_dir, do: Path.join(Mix.Project.app_path(), "c_src")

  defp make(dir, args) do
    make = System.get_env("MAKE") || "make"
    path = System.find_executable(make) || Mix.raise("snakemux is built with make: no #{make} on the PATH. #{@needs}")
    options = [env: @env, stderr_to_stdout: true, into: IO.stream(:stdio, :line)]

    case System.cmd(path, ["-s", "-C", dir | args], options) do
      {_, 0} -> :ok
      {_, status} -> Mix.raise("snakemux: `make -C #{dir}` failed with status #{status}, see above. #{@needs}")
    end
  end
end

defmodule Snakemux.MixProject do
  use Mix.Project

  # One source of truth for rebar3 and Mix.
  {:ok, [{:application, :snakemux, app}]} = :file.consult(Path.join(__DIR__, "src/snakemux.app.src"))
  @app app

  def project do
    [
      app: :snakemux,
      version: to_string(@app[:vsn]),
      description: to_string(@app[:description]),
      elixir: "~> 1.14",
      compilers: [:snakemux | Mix.compilers()],
      elixirc_paths: elixirc_paths(Mix.env()),
      test_paths: ["test/elixir"],
      deps: []
    ]
  end

  def application do
    [
      extra_applications: @app[:applications] -- [:kernel, :stdlib],
      registered: @app[:registered] || [],
      env: @app[:env] || []
    ] ++ Keyword.take(@app, [:mod])
  end

  defp elixirc_paths(:test), do: ["lib", "test/elixir/support"]
  defp elixirc_paths(_), do: ["lib"]
end
