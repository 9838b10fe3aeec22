// A worker in Go: grpc-go's server as it is, with its default policy about pings. The messages are written by hand, so
// that nothing has to be generated: Health and GetInfo say nothing but that all is well, a call is answered, a stream
// has chunks of 64 KiB as long as its caller takes them.
package main

import (
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
)

// Messages as they are on the wire.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (raw) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

// bool success = 1, or bool healthy = 1.
var good = []byte{0x08, 1}

func chunk() []byte {
	value := make([]byte, 65536)
	entry := append([]byte{0x0a, 1, 'x', 0x12, 0x80, 0x80, 4}, value...)
	// map<string, bytes> chunk = 2
	return append(append([]byte{0x12}, varint(len(entry))...), entry...)
}

func varint(n int) []byte {
	if n < 128 {
		return []byte{byte(n)}
	}
	return append([]byte{byte(n)&127 | 128}, varint(n>>7)...)
}

func serve(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if !strings.HasSuffix(method, "Stream") {
		answer := good
		if strings.HasSuffix(method, "GetInfo") {
			answer = nil
		}
		return stream.SendMsg(&answer)
	}
	for message := chunk(); ; {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("GRPC_SERVER_READY_ON_PORT=%d\n", listener.Addr().(*net.TCPAddr).Port)
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(serve))
	fmt.Fprintln(os.Stderr, server.Serve(listener))
	os.Exit(1)
}
