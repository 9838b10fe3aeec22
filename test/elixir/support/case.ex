defmodule Snakemux.Case do
  @moduledoc false
  use ExUnit.CaseTemplate

  @support Path.expand(__DIR__)

  using do
    quote do
      import Snakemux.Case
    end
  end

  @doc "The options of a worker with the commands of ex_workers.py."
  def python(opts \\ []), do: {:python, Keyword.merge([module: "ex_workers", path: @support], opts)}

  @doc "Starts an instance in the test's own supervision tree and waits for its workers."
  def start_mux!(workers, opts \\ []) do
    name = :"mux_#{System.unique_integer([:positive])}"
    start_supervised!({Snakemux, [name: name, workers: workers] ++ opts})
    :ok = Snakemux.await_ready(name, timeout: 30_000)
    name
  end

  @doc "Tries until it holds, for five seconds."
  def eventually(fun, tries \\ 250) do
    case fun.() do
      falsy when falsy in [nil, false] and tries > 0 ->
        Process.sleep(20)
        eventually(fun, tries - 1)

      falsy when falsy in [nil, false] ->
        ExUnit.Assertions.flunk("it never came true")

      value ->
        value
    end
  end

  @doc "The messages in our mailbox, left there."
  def mailbox, do: self() |> Process.info(:messages) |> elem(1)
end
