defmodule Demo.Screen do
  @moduledoc """
  Draws blocks of rows that change in place on a terminal, and plain lines elsewhere.

  A row is `{label, figure, text}`; the figure is `nil`, a fraction (a bar), or a list of numbers (a curve, of which
  `{numbers, top}` says what fills the row).
  """

  @figure 28
  @eighths {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}
  @curve {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}

  @green 78
  @blue 75
  @grey 243

  @doc "The terminal behind our standard output, or nil."
  def terminal do
    case File.read_link("/proc/#{System.pid()}/fd/1") do
      {:ok, "/dev/" <> _ = path} when path != "/dev/null" -> path
      _ -> nil
    end
  end

  def title(name, text) do
    IO.puts(["\n  ", colour([:bright, @green], name), "  ", colour([@grey], text)])
  end

  def heading(text), do: IO.puts(["\n  ", colour([@blue], "●"), " ", colour([:bright], text)])

  def say(text), do: IO.puts(["    ", text])

  @doc """
  Draws the rows of `fun` until `task` is done, and returns the task's value.
  """
  def live(task, fun) do
    if terminal(), do: redraw(task, fun, 0), else: tell(task, fun, 0)
  end

  @doc "Draws rows once."
  def rows(rows), do: Enum.each(rows, &IO.puts(draw(&1)))

  defp redraw(task, fun, drawn) do
    result = Task.yield(task, 80)
    rows = fun.()
    up = if drawn > 0, do: "\e[#{drawn}A", else: ""
    IO.write([up | Enum.map(rows, &["\r\e[2K", draw(&1), "\n"])])

    case result do
      {:ok, value} -> value
      {:exit, reason} -> exit(reason)
      nil -> redraw(task, fun, length(rows))
    end
  end

  defp tell(task, fun, round) do
    result = Task.yield(task, 100)
    if result != nil or rem(round, 20) == 19, do: rows(fun.())

    case result do
      {:ok, value} -> value
      {:exit, reason} -> exit(reason)
      nil -> tell(task, fun, round + 1)
    end
  end

  defp draw({label, figure, text}) do
    label = String.pad_trailing(label, 14)

    if terminal(),
      do: ["    ", colour([@grey], label), picture(figure), text],
      else: ["    ", label, words(figure), text]
  end

  defp words(fraction) when is_number(fraction), do: "#{round(100 * fraction)} %  "
  defp words(_), do: ""

  defp picture(nil), do: ""

  defp picture(fraction) when is_number(fraction) do
    eighths = round(min(max(fraction, 0), 1) * @figure * 8)
    full = div(eighths, 8)
    part = elem(@eighths, rem(eighths, 8))
    rest = @figure - full - String.length(part)
    [colour([@green], [String.duplicate("█", full), part]), colour([236], String.duplicate("·", rest)), "  "]
  end

  defp picture(numbers) when is_list(numbers), do: picture({numbers, Enum.max([1 | numbers])})

  defp picture({numbers, top}) do
    numbers = Enum.take(numbers, -@figure)
    curve = for number <- numbers, do: elem(@curve, min(7, trunc(8 * number / top)))
    [colour([@blue], curve), String.duplicate(" ", @figure - length(numbers)), "  "]
  end

  def faint(text), do: IO.iodata_to_binary(colour([@grey], text))

  defp colour(styles, text) do
    if terminal() && System.get_env("NO_COLOR") == nil do
      codes = for style <- styles, do: if(style == :bright, do: "\e[1m", else: "\e[38;5;#{style}m")
      [codes, text, "\e[0m"]
    else
      text
    end
  end

  @doc "1234567 as 1,234,567."
  def number(n) do
    n |> Integer.to_string() |> String.replace(~r/(?<=\d)(?=(\d{3})+$)/, ",")
  end

  def mib(bytes), do: :erlang.float_to_binary(bytes / 1_048_576, decimals: 1) <> " MiB"

  def ms(us), do: :erlang.float_to_binary(us / 1_000, decimals: 1) <> " ms"
  def seconds(us), do: :erlang.float_to_binary(us / 1_000_000, decimals: 1) <> " s"
end
