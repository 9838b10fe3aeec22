[
  inputs: ["mix.exs", ".formatter.exs", "lib/**/*.ex", "test/elixir/**/*.{ex,exs}", "examples/**/*.{ex,exs}"],
  line_length: 118
]
