%% Options of instances and calls.
-module(snakemux_options_tests).
-include_lib("eunit/include/eunit.hrl").

instance_test() ->
    #{name := m, drain_timeout := 10000, session_ttl := 3600000, workers := [], arguments := ["--max-message", "67108864"]} = snakemux_options:instance([{name, m}]),
    #{program := "/x", arguments := Arguments, max_message := 7} =
        snakemux_options:instance(#{name => m, program => <<"/x">>, max_message => 7, session_ttl => 1000}),
    ?assertEqual(["--max-message", "7", "--session-ttl", "1000"], Arguments).

call_test() ->
    ?assertEqual(#{}, snakemux_options:call([])),
    ?assertEqual(#{timeout => infinity, wait_for_ready => true}, snakemux_options:call([{timeout, infinity}, wait_for_ready])),
    %% As with proplists:get_value/2.
    ?assertEqual(#{timeout => 1}, snakemux_options:call([{timeout, 1}, {timeout, 2}])),
    All = #{
        timeout => 1, credit => infinity, codec => json, null => nil, metadata => #{}, wait_for_ready => false,
        on_session_lost => move, request_id => <<"r">>, compression => gzip, tensors => struct, session => <<"s">>, worker => <<"w">>
    },
    ?assertEqual(All, snakemux_options:call(All)).

wrong_call_test_() ->
    [?_assertError(badarg, snakemux_options:call(Options)) || Options <- [
        1, [1], [{timeout}], [{timeout, 1} | x], #{timeout => 0}, #{timeout => 1 bsl 31}, #{credit => 0}, #{codec => yaml}, #{session => ""},
        #{worker => "text"}, #{request_id => <<>>}, #{timeuot => 1}, #{metadata => 1}, #{compression => true}, #{tensors => map}
    ]].

wrong_instance_test_() ->
    [?_assertError(badarg, snakemux_options:instance(Options)) || Options <- [
        #{}, #{name => "m"}, #{name => nil}, #{name => m, workers => 1}, #{name => m, drain_timeout => -1}, #{name => m, program => ""},
        #{name => m, program => <<255>>}, #{name => m, workers => [{attach, "unix:/x"} | y]}
    ]].

others_test() ->
    ?assertEqual(#{workers => all, timeout => 30000}, snakemux_options:await([])),
    ?assertEqual(#{rolling => true, drain => 0, timeout => 60000}, snakemux_options:restart(#{rolling => true, drain => 0})),
    ok = snakemux_options:credit(infinity),
    ?assertError(badarg, snakemux_options:credit(0)).

%% Elixir prints this text in its ArgumentError.
text_test() ->
    Text = fun(Key, Value, Allowed) ->
        try snakemux_options:fail(Key, Value, Allowed)
        catch error:badarg:Stack -> maps:get(general, snakemux_options:format_error(badarg, Stack))
        end
    end,
    ?assertEqual(<<"option timeout is -1: it must be positive">>, Text(timeout, -1, "positive")),
    ?assertEqual(<<"option name is missing: it must be an atom">>, Text(name, missing, "an atom")).
