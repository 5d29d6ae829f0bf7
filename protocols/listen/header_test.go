package listen

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// binaryHeader returns a header of version 2.
func binaryHeader(command, family byte, rest string) string {
	return signature2 + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

// summed returns one with a checksum at its end.
func summed(rest string) string {
	head := binaryHeader(commandProxy, familyTCP4, rest+"\x03\x00\x04\x00\x00\x00\x00")
	sum := crc32.Checksum([]byte(head), crc32.MakeTable(crc32.Castagnoli))
	return head[:len(head)-4] + string(binary.BigEndian.AppendUint32(nil, sum))
}

const (
	ends4 = "\xc0\x00\x02\x01\xc6\x33\x64\x01\x87\x07\x00\x19" // 192.0.2.1:34567 to 198.51.100.1:25
	host6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	ends6 = host6 + host6 + "\x87\x07\x00\x19"
)

var headerTests = []struct {
	name, in string
	want     string // client and server; "own"; empty = refused
}{
	{"version 1", "PROXY TCP4 192.0.2.1 198.51.100.1 34567 25\r\n", "192.0.2.1:34567 198.51.100.1:25"},
	{"version 1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 34567 25\r\n", "[2001:db8::1]:34567 [2001:db8::2]:25"},
	{"version 1, IPv4 as IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 1 2\r\n", "192.0.2.1:1 198.51.100.1:2"},
	{"version 1, nobody's connection", "PROXY UNKNOWN\r\n", "own"},
	{"version 1, what is said of it does not matter", "PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", "own"},
	{"version 2", binaryHeader(commandProxy, familyTCP4, ends4), "192.0.2.1:34567 198.51.100.1:25"},
	{"version 2, IPv6", binaryHeader(commandProxy, familyTCP6, ends6), "[2001:db8::1]:34567 [2001:db8::1]:25"},
	{"version 2, a check of the forwarder", binaryHeader(commandLocal, familyNone, ""), "own"},
	{"version 2, a check with addresses", binaryHeader(commandLocal, familyTCP4, ends4), "own"},
	{"version 2, no family", binaryHeader(commandProxy, familyNone, "anything"), "own"},
	{"additions", binaryHeader(commandProxy, familyTCP4, ends4+"\x01\x00\x02h2\x04\x00\x00"), "192.0.2.1:34567 198.51.100.1:25"},
	{"a checksum", summed(ends4), "192.0.2.1:34567 198.51.100.1:25"},

	{"a command", "EHLO client.test\r\n", ""},
	{"nothing", "", ""},
	{"a TLS handshake", "\x16\x03\x01\x02\x00", ""},
	{"an HTTP request", "PUT / HTTP/1.1\r\n", ""},
	{"cut off", "PROXY TCP4 192.0.2.1", ""},
	{"small letters", "proxy TCP4 192.0.2.1 198.51.100.1 34567 25\r\n", ""},
	{"LF alone", "PROXY TCP4 192.0.2.1 198.51.100.1 34567 25\n", ""},
	{"longer than allowed", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", ""},
	{"two spaces", "PROXY TCP4  192.0.2.1 198.51.100.1 34567 25\r\n", ""},
	{"one more word", "PROXY TCP4 192.0.2.1 198.51.100.1 34567 25 x\r\n", ""},
	{"one word less", "PROXY TCP4 192.0.2.1 198.51.100.1 34567\r\n", ""},
	{"no word", "PROXY \r\n", ""},
	{"another protocol", "PROXY UDP4 192.0.2.1 198.51.100.1 34567 25\r\n", ""},
	{"the wrong family", "PROXY TCP4 2001:db8::1 2001:db8::2 34567 25\r\n", ""},
	{"the other wrong family", "PROXY TCP6 192.0.2.1 198.51.100.1 34567 25\r\n", ""},
	{"a zone", "PROXY TCP6 fe80::1%eth0 2001:db8::2 34567 25\r\n", ""},
	{"a port beyond all", "PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n", ""},
	{"a port below all", "PROXY TCP4 192.0.2.1 198.51.100.1 -1 25\r\n", ""},
	{"a leading zero", "PROXY TCP4 192.0.2.1 198.51.100.1 034567 25\r\n", ""},
	{"an address nobody has", "PROXY TCP4 0.0.0.0 198.51.100.1 34567 25\r\n", ""},
	{"an address of many", "PROXY TCP4 192.0.2.1 224.0.0.1 34567 25\r\n", ""},
	{"version 2, cut off in the signature", signature2[:11], ""},
	{"version 2, cut off before the length", signature2 + "\x21\x11", ""},
	{"version 2, cut off in the addresses", binaryHeader(commandProxy, familyTCP4, ends4)[:20], ""},
	{"version 2, no room for the addresses", binaryHeader(commandProxy, familyTCP4, ends4[:11]), ""},
	{"version 3", binaryHeader(0x31, familyTCP4, ends4), ""},
	{"version 2, another command", binaryHeader(0x22, familyTCP4, ends4), ""},
	{"version 2, datagrams", binaryHeader(commandProxy, 0x12, ends4), ""},
	{"version 2, unix sockets", binaryHeader(commandProxy, 0x31, strings.Repeat("x", 216)), ""},
	{"version 2, longer than allowed", binaryHeader(commandProxy, familyTCP4, ends4+"\x04\x10\x00"+strings.Repeat("x", 4096)), ""},
	{"an addition is cut off", binaryHeader(commandProxy, familyTCP4, ends4+"\x04\x00\x02x"), ""},
	{"half the head of an addition", binaryHeader(commandProxy, familyTCP4, ends4+"\x04\x00"), ""},
	{"a wrong checksum", binaryHeader(commandProxy, familyTCP4, ends4+"\x03\x00\x04\x00\x00\x00\x00"), ""},
	{"half a checksum", binaryHeader(commandProxy, familyTCP4, ends4+"\x03\x00\x02\x00\x00"), ""},
}

func (h header) String() string {
	if h.own {
		return "own"
	}
	return h.client.String() + " " + h.server.String()
}

// TestReadHeader: what is a header, whether it comes at once or octet by octet; and what follows it is left alone.
func TestReadHeader(t *testing.T) {
	t.Parallel()
	const tail = "EHLO client.test\r\n"
	for _, tt := range headerTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := tt.in
			if tt.want != "" {
				text += tail
			}
			for _, from := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
				in := bufio.NewReaderSize(from, maxHeader)
				got, err := readHeader(in)
				if tt.want == "" {
					if err == nil {
						t.Errorf("got %s, want an error", got)
					}
					continue
				}
				if err != nil || got.String() != tt.want {
					t.Errorf("got %s, %v, want %s", got, err, tt.want)
				}
				if rest, err := io.ReadAll(in); string(rest) != tail || err != nil {
					t.Errorf("left %q, %v, want %q", rest, err, tail)
				}
			}
			if tt.want != "" && startsHeader([]byte(tt.in[:len(signature2)])) != yes {
				t.Error("from a source that is not listed it would not be seen")
			}
		})
	}
}

// FuzzHeader: what is taken for a header names two machines in their short form, or none; is seen when it comes from
// where none may come from; and says the same in the form of version 1.
func FuzzHeader(f *testing.F) {
	for _, tt := range headerTests {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := bufio.NewReaderSize(strings.NewReader(string(text)), maxHeader)
		h, err := readHeader(in)
		if err != nil {
			return
		}
		if startsHeader(text[:12]) != yes {
			t.Errorf("%q is a header and does not begin as one", text)
		}
		if h.own {
			return
		}
		for _, end := range []netip.AddrPort{h.client, h.server} {
			if a := end.Addr(); !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
				t.Errorf("%q names %s", text, a)
			}
		}
		words := []string{"PROXY", "TCP6", long6(h.client), long6(h.server), port(h.client), port(h.server) + "\r\n"}
		again, err := readHeader(bufio.NewReaderSize(strings.NewReader(strings.Join(words, " ")), maxHeader))
		if err != nil || again != h {
			t.Errorf("got %s, and written again %s, %v", h, again, err)
		}
	})
}

func long6(a netip.AddrPort) string { return netip.AddrFrom16(a.Addr().As16()).String() }

func port(a netip.AddrPort) string {
	return a.String()[strings.LastIndexByte(a.String(), ':')+1:]
}

// TestStartsHeader: nothing else is taken for a header, and as soon as it is one it is known.
func TestStartsHeader(t *testing.T) {
	t.Parallel()
	for _, signature := range []string{signature1, signature2} {
		for n := range signature {
			if got := startsHeader([]byte(signature[:n])); got != perhaps {
				t.Errorf("%q: got %d, want perhaps", signature[:n], got)
			}
		}
		if got := startsHeader([]byte(signature)); got != yes {
			t.Errorf("%q: got %d, want yes", signature, got)
		}
	}
	for _, other := range []string{"EHLO", "PROXY:", "PRO\x00", "\r\n\r\nQUIT", "Proxy ", "\x16\x03\x01"} {
		if got := startsHeader([]byte(other)); got != no {
			t.Errorf("%q: got %d, want no", other, got)
		}
	}
}
