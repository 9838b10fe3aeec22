%% A stream as its one consumer reads it: chunk by chunk, with credit given back on the way.
-module(snakemux_reader).

-export([open/4, pull/1, fold/3]).

%% The call, after how many chunks it gives credit again, how many it took since.
-type reader() :: {snakemux:ref(), pos_integer() | infinity, non_neg_integer()}.
-type fold() :: fun((snakemux_proto:result(), term()) -> {cont, term()} | {halt, term()}).

-export_type([reader/0, fold/0]).

%% @doc Starts a stream to be read by pull/1. Credit comes back by halves of the window: a message each would cost more than
%% the chunk.
-spec open(atom(), snakemux_proto:command(), snakemux_proto:args(), snakemux:options()) -> reader().
open(Mux, Command, Args, Options0) ->
    Options = snakemux_options:to_map(call, Options0),
    Ref = snakemux:execute_stream(Mux, Command, Args, Options),
    {Ref, case maps:get(credit, Options, 16) of infinity -> infinity; Credit -> max(1, Credit div 2) end, 0}.

%% @doc The next chunk, or the end.
-spec pull(reader()) ->
    {chunk, snakemux_proto:result(), reader()} | {done, snakemux_proto:meta()} | {error, snakemux_proto:error()}.
pull({Ref, Step, Taken} = Reader) ->
    case snakemux:next(Ref, infinity) of
        passive -> pull(Reader);
        {chunk, Chunk} when Taken + 1 >= Step -> snakemux:credit(Ref, Taken + 1), {chunk, Chunk, {Ref, Step, 0}};
        {chunk, Chunk} -> {chunk, Chunk, {Ref, Step, Taken + 1}};
        End -> End
    end.

%% @doc Folds what is left of it; `{halt, Acc}' cancels it, and so does an exception in `Fun'.
-spec fold(reader(), fold(), term()) -> {ok, term()} | {error, snakemux_proto:error(), term()}.
fold({Ref, _, _} = Reader, Fun, Acc) ->
    case pull(Reader) of
        {chunk, Chunk, Rest} ->
            try Fun(Chunk, Acc) of
                {cont, Next} -> fold(Rest, Fun, Next);
                {halt, Last} -> snakemux:abandon(Ref), {ok, Last}
            catch
                Class:Reason:Stack -> snakemux:abandon(Ref), erlang:raise(Class, Reason, Stack)
            end;
        {done, _} -> {ok, Acc};
        {error, Error} -> {error, Error, Acc}
    end.
