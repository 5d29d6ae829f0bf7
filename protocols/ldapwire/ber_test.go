package ldapwire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadFrame(t *testing.T) {
	t.Parallel()
	big := append([]byte{0x30, 0x83, 0x03, 0x00, 0x00}, make([]byte, 3<<16)...)
	var syntax *SyntaxError
	tests := []struct {
		name string
		in   []byte
		max  int
		ok   func(error) bool
	}{
		{"whole", octetsOf(t, "3005 020101 4a00"), 7, func(err error) bool { return err == nil }},
		{"one octet over the limit", octetsOf(t, "3005 020101 4a00"), 6, isErr(ErrTooLarge)},
		{"larger than one step", big, 1 << 20, func(err error) bool { return err == nil }},
		{"4 GiB announced", octetsOf(t, "3084 ffffffff"), 1 << 20, isErr(ErrTooLarge)},
		{"indefinite", octetsOf(t, "3080 0000"), 1 << 20, func(err error) bool { return errors.As(err, &syntax) }},
		{"five octets of length", octetsOf(t, "3085 0000000000"), 1 << 20, func(err error) bool { return errors.As(err, &syntax) }},
		{"an HTTP request", []byte("GET / HTTP/1.1\r\n\r\n"), 1 << 20, func(err error) bool { return errors.As(err, &syntax) }},
		{"end between messages", nil, 1 << 20, func(err error) bool { return err == io.EOF }},
		{"end after the tag", octetsOf(t, "30"), 1 << 20, isErr(io.ErrUnexpectedEOF)},
		{"end in the length", octetsOf(t, "3082 01"), 1 << 20, isErr(io.ErrUnexpectedEOF)},
		{"end in the content", octetsOf(t, "3005 0201"), 1 << 20, isErr(io.ErrUnexpectedEOF)},
		{"end in the second step", big[:100_000], 1 << 20, isErr(io.ErrUnexpectedEOF)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame, err := ReadFrame(bufio.NewReader(bytes.NewReader(append(tt.in, "next"...)[:len(tt.in)])), tt.max)
			if !tt.ok(err) {
				t.Fatalf("ReadFrame: %v", err)
			}
			if err == nil && !bytes.Equal(frame, tt.in) {
				t.Errorf("ReadFrame = %d octets, want the %d that were sent", len(frame), len(tt.in))
			}
		})
	}
}

func isErr(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func TestReadFrameLeavesTheNext(t *testing.T) {
	t.Parallel()
	r := bufio.NewReader(strings.NewReader("\x30\x05\x02\x01\x01\x4a\x00next"))
	if _, err := ReadFrame(r, 100); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "next" {
		t.Errorf("left %q, want %q", rest, "next")
	}
}
