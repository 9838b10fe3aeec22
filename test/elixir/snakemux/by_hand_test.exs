defmodule Snakemux.ByHandTest do
  # The lines of docs/BY_HAND.md, run by a fresh Elixir that knows nothing of ours.
  use ExUnit.Case, async: true

  @root Path.expand("../../..", __DIR__)
  @doc_path Path.join(@root, "docs/BY_HAND.md")
  @external_resource @doc_path

  setup do
    [_, code] = Regex.run(~r/^```elixir\n(.*?)^```$/ms, File.read!(@doc_path))
    %{code: code}
  end

  test "are not more than 25, and mention no module of ours", %{code: code} do
    assert code |> String.split("\n", trim: true) |> length() <= 25
    refute code =~ ~r/Snakemux\.|:snakemux\./
  end

  test "do what the page says", %{code: code} do
    dir = Path.join(System.tmp_dir!(), "snakemux_by_hand_#{System.pid()}")
    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    script = Path.join(dir, "by_hand.exs")
    File.write!(script, [code, "\nIO.inspect(:code.which(:snakemux), label: \"ours\")\n"])
    priv = :code.priv_dir(:snakemux)

    env = [
      {"SNAKEMUX", System.get_env("SNAKEMUX_PROGRAM", Path.join(priv, "snakemux"))},
      {"PYTHON", System.get_env("SNAKEMUX_PYTHON", "python3")},
      {"PYTHONPATH", "#{priv}/python:#{@root}/examples/quickstart"},
      {"ERL_LIBS", nil}
    ]

    {output, status} = System.cmd("elixir", [script], env: env, cd: dir, stderr_to_stdout: true)
    assert status == 0, output
    assert output =~ "ours: :non_existing"

    # What the page shows as its output.
    [_, shown] = Regex.run(~r/^```text\n(.*?)^```$/ms, File.read!(@doc_path))
    for line <- String.split(shown, "\n", trim: true), do: assert(output =~ line)
  end
end
