defmodule Snakemux.ExamplesTest do
  # What the README and the demo show, done. Not beside other tests: the demo looks at memory and time.
  use ExUnit.Case, async: false
  import ExUnit.CaptureIO

  @root Path.expand("../..", __DIR__)
  @readme File.read!(Path.join(@root, "README.md"))
  @external_resource Path.join(@root, "README.md")

  test "the README shows the files that it names" do
    blocks = Regex.scan(~r/^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$/ms, @readme, capture: :all_but_first)
    assert length(blocks) >= 2
    for [path, code] <- blocks, do: assert(File.read!(Path.join(@root, path)) == code, path)
  end

  test "the quickstart" do
    assert capture_io(fn -> Code.eval_file("examples/quickstart/quickstart.exs", @root) end) ==
             "mean: 3.0\nprimes: [2, 3, 5, 7, 11]\n"

    Supervisor.stop(ML)
  end

  test "its Erlang" do
    [code] = Regex.run(~r/^{ok, _} = snakemux:start_link.*?(?=^```$)/ms, @readme)
    {:ok, tokens, _} = code |> String.to_charlist() |> :erl_scan.string()
    {:ok, expressions} = :erl_parse.parse_exprs(tokens)
    {:value, _, bindings} = :erl_eval.exprs(expressions, [])
    assert bindings[:Sum] == 1060
    Supervisor.stop(:ml)
  end

  @tag :slow
  @tag timeout: 120_000
  test "the demo leaves nothing behind, in under 30 seconds" do
    {output, status} = System.cmd("mix", ["run", "examples/demo/demo.exs"], cd: @root, stderr_to_stdout: true)
    assert status == 0, output
    assert output =~ ~r/orphans +0 /
    assert output =~ ~r/restarts +1$/m
    assert output =~ ~r/process_large_dataset on py-1: unavailable.* \[\w+, sent, after \d+ chunks\]/
    [_, seconds] = Regex.run(~r/took +([0-9.]+) s$/m, output)
    assert String.to_float(seconds) < 30
  end
end
