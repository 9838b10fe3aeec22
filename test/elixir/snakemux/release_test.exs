defmodule Snakemux.ReleaseTest do
  # A real `mix release` of a small application, moved to another directory, and run with no compiler on the path.
  use ExUnit.Case, async: true

  @moduletag :slow
  @moduletag timeout: 300_000

  @root Path.expand("../../..", __DIR__)

  @files %{
    "mix.exs" => """
    defmodule Tiny.MixProject do
      use Mix.Project

      def project, do: [app: :tiny, version: "1.0.0", deps: [{:snakemux, path: #{inspect(@root)}}]]
      def application, do: [mod: {Tiny, []}]
    end
    """,
    "priv/python/tiny_worker.py" => """
    from snakemux import Worker

    worker = Worker()


    @worker.command
    def double(x):
        return {"double": 2 * x}


    @worker.command
    def count(to: int):
        for n in range(to):
            yield {"n": n}
    """,
    "lib/tiny.ex" => ~S"""
    defmodule Tiny do
      use Application

      def start(_type, _args) do
        workers = [{:python, module: "tiny_worker", path: {:priv, :tiny, "python"}}]
        children = [{Snakemux, name: Tiny.ML, workers: workers}, {Task, &run/0}]
        Supervisor.start_link(children, strategy: :one_for_one)
      end

      defp run do
        options = [timeout: String.to_integer(System.get_env("TIMEOUT", "30000"))]
        say("call", Snakemux.execute(Tiny.ML, "double", %{x: 21}, options))
        say("stream", Tiny.ML |> Snakemux.stream("count", %{to: 3}, options) |> Enum.to_list())
        say("running", await_running())
        System.stop(0)
      end

      # We may be faster than our own application's start.
      defp await_running do
        case for({app, _, _} <- Application.started_applications(), app in [:snakemux, :tiny], do: app) do
          [_, _] = both -> Enum.sort(both)
          _ -> Process.sleep(10) && await_running()
        end
      end

      defp say(what, {:error, error}), do: IO.puts("#{what}: #{Exception.message(error)}")
      defp say(what, value), do: IO.puts("#{what}: #{inspect(value)}")
    end
    """
  }

  setup_all do
    tmp = Path.join(System.tmp_dir!(), "snakemux_release_#{System.pid()}")
    on_exit(fn -> File.rm_rf!(tmp) end)
    build = Path.join(tmp, "build")

    for {name, text} <- @files do
      path = Path.join(build, name)
      File.mkdir_p!(Path.dirname(path))
      File.write!(path, text)
    end

    env = [{"MIX_ENV", "prod"}, {"MIX_REBAR3", nil}, {"MIX_BUILD_PATH", nil}, {"MIX_DEPS_PATH", nil}]
    {output, status} = System.cmd("mix", ["release", "--quiet"], cd: build, env: env, stderr_to_stdout: true)
    assert status == 0, output

    release = Path.join(tmp, "moved")
    File.rename!(Path.join(build, "_build/prod/rel/tiny"), release)
    File.rm_rf!(build)
    %{release: release, path: path_without_tools(Path.join(tmp, "bin"))}
  end

  test "calls and streams", context do
    output = run(context, %{})
    assert output =~ ~s(call: {:ok, %{"double" => 42}})
    assert output =~ ~s(stream: [ok: %{"n" => 0}, ok: %{"n" => 1}, ok: %{"n" => 2}])
    assert output =~ "running: [:snakemux, :tiny]"
  end

  for {what, spoil, reason} <- [
        {"missing", quote(do: &File.rm!/1), "is not there"},
        {"not executable", quote(do: &File.chmod!(&1, 0o644)), "chmod +x"},
        {"something else", quote(do: &spoil(&1, "#!/bin/sh\necho 'libgrpc.so.29: cannot open' >&2\nexit 127\n")),
         "127"},
        {"speaking nonsense",
         quote(do: &spoil(&1, "#!/bin/sh\nprintf '\\\\0\\\\0\\\\0\\\\3abc'\nexec cat >/dev/null\n")), "snakemux"}
      ] do
    test "a port program that is #{what} leaves the node up, and says why", context do
      [program] = Path.wildcard(Path.join(context.release, "lib/snakemux-*/priv/snakemux"))
      kept = program <> ".kept"
      File.cp!(program, kept)
      on_exit(fn -> File.rename!(kept, program) end)
      unquote(spoil).(program)

      output = run(context, %{"TIMEOUT" => "2000"})
      assert output =~ ~r/^call: double: unavailable.*\[mux, not sent\]$/m
      assert output =~ unquote(reason)
      assert output =~ ~r/^stream: \[error: %Snakemux.Error{.*:unavailable/m
      assert output =~ "running: [:snakemux, :tiny]"
    end
  end

  defp run(%{release: release, path: path}, env) do
    env = Map.merge(%{"PATH" => path, "RELEASE_DISTRIBUTION" => "none", "SNAKEMUX_PROGRAM" => nil}, env)
    {output, status} = System.cmd(Path.join(release, "bin/tiny"), ["start"], env: env, stderr_to_stdout: true)
    assert status == 0, String.slice(output, 0, 4_000)
    output
  end

  def spoil(program, text) do
    File.rm!(program)
    File.write!(program, text)
    File.chmod!(program, 0o755)
  end

  # Everything of the usual path but what compiles, and what would bring another Erlang.
  defp path_without_tools(bin) do
    File.mkdir_p!(bin)
    tools = ~r/gcc|g\+\+|clang|^cc$|^c\+\+$|^cpp|^make|^ld|^as$|protoc|erl|elixir|mix|rebar|iex|escript/

    for dir <- ["/usr/bin", "/bin"], file <- File.ls!(dir), not Regex.match?(tools, file) do
      File.ln_s(Path.join(dir, file), Path.join(bin, file))
    end

    bin
  end
end
