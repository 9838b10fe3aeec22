defmodule Snakemux.TensorTest do
  use Snakemux.Case, async: true
  doctest Snakemux.Tensor

  alias Snakemux.{Error, Tensor}

  setup_all do
    name = :mux_of_tensor_test
    start_supervised!({Snakemux, name: name, workers: [python()]})
    :ok = Snakemux.await_ready(name, timeout: 30_000)
    %{mux: name}
  end

  @types for(kind <- [:s, :u], bits <- [8, 16, 32, 64], do: {kind, bits}) ++
           [{:f, 16}, {:f, 32}, {:f, 64}, {:c, 64}, {:c, 128}]
  @shapes [{}, {1}, {0}, {3}, {2, 3}, {2, 0, 3}, {300}, {2, 1, 2, 1, 2}, List.to_tuple(List.duplicate(1, 64))]

  test "every type and shape comes back as it went, alone and nested", %{mux: mux} do
    for type <- @types, shape <- @shapes do
      tensor = tensor(type, shape)
      assert Snakemux.execute!(mux, "give_back", %{a: tensor}) == %{"a" => tensor}
      assert Snakemux.execute!(mux, "give_back", %{l: [1, %{t: tensor}]}) == %{"l" => [1, %{"t" => tensor}]}
    end
  end

  test "is a NumPy array to the handler, and its result is one", %{mux: mux} do
    t = %Tensor{type: {:f, 32}, shape: {2, 2}, data: floats([1, 2, 3, 4])}
    assert Snakemux.execute!(mux, "describe", %{a: t}) == %{"dtype" => "float32", "shape" => [2, 2], "sum" => 10.0}
    assert Snakemux.execute!(mux, "transposed", %{a: t}) == %{t | data: floats([1, 3, 2, 4])}

    assert Snakemux.execute!(mux, "is_positive", %{a: t}) == %Tensor{
             type: {:u, 8},
             shape: {2, 2},
             data: <<1, 1, 1, 1>>
           }
  end

  test "streams carry them, and messages do", %{mux: mux} do
    t = %Tensor{type: {:f, 32}, shape: {2, 2}, data: floats([1, 2, 3, 4])}
    rows = for data <- [floats([1, 2]), floats([3, 4])], do: %Tensor{type: {:f, 32}, shape: {2}, data: data}
    assert mux |> Snakemux.stream!("rows", %{a: t}) |> Enum.to_list() == rows

    ref = Snakemux.execute_async(mux, "give_back", %{a: t})
    assert_receive {:snakemux, ^ref, {:ok, %{"a" => ^t}}}, 10_000
  end

  test "Erlang's form goes as well, and comes to who asks for it", %{mux: mux} do
    args = %{a: {:tensor, {:s, 16}, [2, 1], <<1, 0, 2, 0>>}}
    struct = %Tensor{type: {:s, 16}, shape: {2, 1}, data: <<1, 0, 2, 0>>}
    assert Snakemux.execute!(mux, "give_back", args) == %{"a" => struct}
    assert Snakemux.execute!(mux, "give_back", args, tensors: :tuple) == %{"a" => args.a}
    assert :snakemux.execute(mux, "give_back", %{a: struct}) == {:ok, %{"a" => args.a}}
  end

  test "a wrong one is named by its path and never sent", %{mux: mux} do
    for {wrong, text} <- [
          {%Tensor{type: {:bf, 16}, shape: {1}, data: <<0, 0>>}, "NumPy has no other"},
          {%Tensor{type: {:f, 32}, shape: {2}, data: <<0, 0>>}, "has 2 bytes, but its type and shape make 8"},
          {%Tensor{type: {:f, 32}, shape: nil, data: <<0, 0>>}, "the shape of a tensor is"}
        ] do
      assert {:error, %Error{code: :invalid_argument, sent: false, message: message}} =
               Snakemux.execute(mux, "give_back", %{items: [1, wrong]})

      assert message =~ "args.items[1]: "
      assert message =~ text
    end
  end

  test "a dtype that is no number is named with its path", %{mux: mux} do
    assert {:error, %Error{code: :internal, message: message}} = Snakemux.execute(mux, "objects")
    assert message =~ "result.list[1]: numpy.ndarray of dtype object"
  end

  test "what a worker calls an array is not believed", %{mux: mux} do
    npy = fn header, data ->
      {:bin, <<0x93, "NUMPY", 1, 0, byte_size(header) + 1::16-little, header::binary, ?\n, data::binary>>}
    end

    for {kind, data, text} <- [
          {1, npy.("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", <<0::32>>),
           "has 4 bytes"},
          {1, npy.("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", <<0::32>>), "in Fortran order isn't"},
          {1, npy.("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", <<0::32>>), "dtype >f4 isn't"},
          {1, npy.("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", <<0::32>>), "dtype |O isn't"},
          {1, npy.("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", <<0::32>>), "plain numbers"},
          {1, {:bin, "anything"}, "isn't a .npy file"},
          {5, {:bin, "anything"}, "extension type 5 is not supported"}
        ] do
      assert {:error, %Error{origin: :worker, reason: :decode, sent: true, message: message}} =
               Snakemux.execute(mux, "extension", %{kind: kind, data: data})

      assert message =~ text
    end
  end

  test "without MessagePack the error says what is missing" do
    dir = Path.join(System.tmp_dir!(), "snakemux-#{System.unique_integer([:positive])}-#{System.pid()}")
    File.mkdir!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    File.write!(Path.join(dir, "msgpack.py"), "raise ImportError")
    mux = start_mux!([python(env: %{"PYTHONPATH" => dir})])
    t = %Tensor{type: {:u, 8}, shape: {1}, data: <<1>>}
    assert {:error, %Error{code: :invalid_argument, message: message}} = Snakemux.execute(mux, "give_back", %{a: [t]})

    assert message ==
             "args.a[0]: a tensor can't be sent as JSON: the worker needs the codec msgpack (in Python: pip install msgpack)"

    assert {:error, %Error{message: message}} = Snakemux.execute(mux, "zeros", %{n: 3})
    assert message =~ "result: numpy.ndarray of dtype float64 (its tolist() can) can't be encoded as json"
  end

  test "max_message is that of both sides, and what exceeds it names both numbers" do
    here = Path.expand("../support", __DIR__)
    argv = [System.fetch_env!("SNAKEMUX_PYTHON"), "-m", "snakemux", "ex_workers", "--address", "{address}"]
    library = :snakemux_options.priv_dir() |> Path.join("python")
    exec = {:exec, argv, id: "exec", env: %{"PYTHONPATH" => "#{here}:#{library}"}}

    for {limit, fits, exceeds} <- [{1_000_000, 900_000, 1_100_000}, {70_000_000, 69_000_000, 71_000_000}],
        worker <- ["py", "exec"] do
      mux = start_mux!([python(), exec], max_message: limit)
      opts = [worker: worker]
      assert byte_size(Snakemux.execute!(mux, "zeros", %{n: fits, type: "u1"}, opts).data) == fits
      large = %Tensor{type: {:u, 8}, shape: {fits}, data: <<0::size(fits)-unit(8)>>}
      assert %{"sum" => 0.0} = Snakemux.execute!(mux, "describe", %{a: large}, opts)

      larger = %Tensor{type: {:u, 8}, shape: {exceeds}, data: <<0::size(exceeds)-unit(8)>>}

      assert {:error, %Error{code: :resource_exhausted} = error} =
               Snakemux.execute(mux, "describe", %{a: larger}, opts)

      assert error.reason == :too_large and not error.sent
      assert error.message =~ ~r/a message of #{div(exceeds, 1000)}\d{3} bytes, and max_message is #{limit}: .*stream/

      assert {:error, %Error{code: :resource_exhausted} = error} =
               Snakemux.execute(mux, "zeros", %{n: exceeds, type: "u1"}, opts)

      assert error.message =~
               ~r/^result of #{div(exceeds, 1000)}\d{3} bytes exceeds max_message, #{limit} bytes: .*stream/

      stop_supervised!(mux)
    end
  end

  defp tensor({kind, bits}, shape) do
    size = Enum.product([div(bits, 8) | Tuple.to_list(shape)])
    data = for i <- 1..size//1, into: <<>>, do: <<rem(i, 256)>>
    %Tensor{type: {kind, bits}, shape: shape, data: data}
  end

  defp floats(numbers), do: for(n <- numbers, into: <<>>, do: <<n::float-32-little>>)
end
