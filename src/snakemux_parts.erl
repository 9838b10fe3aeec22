%% Events that come in parts, because a large frame would hold up everybody's small ones. A process of its own puts each
%% together and decodes it, for the same reason. What comes meanwhile under the same tag waits for it.
-module(snakemux_parts).

-export([new/0, take/3, decoded/2]).

-export_type([parts/0]).

%% Of each tag the parts that have come, or the events that wait for the one being decoded; the newest first.
-opaque parts() :: #{snakemux_proto:tag() => {parts, [binary()]} | {waiting, [tuple()]}}.

-spec new() -> parts().
new() -> #{}.

%% @doc Whether an event is to be handled now. The one whose last part this is comes back as `{decoded, Key, Tag, Event}',
%% with `error' for an event that is none.
-spec take(tuple(), Key :: term(), parts()) -> {now | later, parts()}.
take({part, Tag, Bin}, _, Parts) ->
    {later, add({part, Tag, Bin}, Tag, Parts)};
take({last, Tag, Bin} = Event, Key, Parts) ->
    case Parts of
        #{Tag := {waiting, _}} ->
            {later, add(Event, Tag, Parts)};
        #{Tag := {parts, Before}} ->
            Mux = self(),
            spawn(fun() -> Mux ! {decoded, Key, Tag, decode(lists:reverse(Before, [Bin]))} end),
            {later, Parts#{Tag := {waiting, []}}};
        #{} ->
            {later, Parts}
    end;
take(Event, _, Parts) when map_size(Parts) =:= 0; tuple_size(Event) < 2 ->
    {now, Parts};
take(Event, _, Parts) ->
    Tag = element(2, Event),
    case Parts of
        #{Tag := {waiting, _}} -> {later, add(Event, Tag, Parts)};
        %% The port program has dropped the rest.
        #{Tag := {parts, _}} -> {now, maps:remove(Tag, Parts)};
        #{} -> {now, Parts}
    end.

add(Event, Tag, Parts) ->
    case Parts of
        #{Tag := {waiting, Events}} -> Parts#{Tag := {waiting, [Event | Events]}};
        #{Tag := {parts, Bins}} -> Parts#{Tag := {parts, [element(3, Event) | Bins]}};
        #{} -> Parts#{Tag => {parts, [element(3, Event)]}}
    end.

decode(Bins) ->
    try snakemux_proto:decode_large(iolist_to_binary(Bins)) of
        [Event] -> Event;
        _ -> error
    catch
        error:badarg -> error
    end.

%% @doc An event has been decoded: what has waited for it, to be taken now.
-spec decoded(snakemux_proto:tag(), parts()) -> {[tuple()], parts()}.
decoded(Tag, Parts) ->
    {{waiting, Events}, Rest} = maps:take(Tag, Parts),
    {lists:reverse(Events), Rest}.
