defmodule Snakemux.Tensor do
  @moduledoc """
  An array of numbers, as it goes to a Python worker and comes from it: there it is a NumPy array.

      image = %Snakemux.Tensor{type: {:u, 8}, shape: {2, 3}, data: <<1, 2, 3, 4, 5, 6>>}
      {:ok, %Snakemux.Tensor{} = mask} = Snakemux.execute(ML, "segment", %{image: image})

  It may stand wherever a value may. `:type` and `:shape` are those of Nx, `:data` are the numbers in C order,
  little-endian. To and from Nx:

      tensor = %Snakemux.Tensor{type: Nx.type(t), shape: Nx.shape(t), data: Nx.to_binary(t)}
      t = tensor.data |> Nx.from_binary(tensor.type) |> Nx.reshape(tensor.shape)

  NumPy has `{:s | :u, 8 | 16 | 32 | 64}`, `{:f, 16 | 32 | 64}` and `{:c, 64 | 128}`; other types, as `{:bf, 16}`, are
  refused: convert them before. Its booleans come as `{:u, 8}`. The worker needs `numpy` and the codec of `msgpack`.

      iex> one = %Snakemux.Tensor{type: {:f, 32}, shape: {}, data: <<1.0::float-32-little>>}
      iex> byte_size(one.data)
      4
  """

  @enforce_keys [:type, :shape, :data]
  defstruct [:type, :shape, :data]

  @type t :: %__MODULE__{
          type: {:s | :u | :f | :c, pos_integer()},
          shape: tuple(),
          data: binary()
        }
end
