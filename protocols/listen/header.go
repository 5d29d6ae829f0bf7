package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The two forms of a header begin so ("The PROXY protocol", versions 1 and 2, sections 2.1 and 2.2).
const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
)

const (
	maxHeader1 = 107     // octets of version 1 with its CRLF, as its specification has it
	maxHeader  = 4 << 10 // octets of version 2 with all that a forwarder adds; certificates are not among it
)

// ErrHeader is wrapped by the errors about a PROXY header that is not as it must be.
var ErrHeader = errors.New("malformed")

// A header says for whom a forwarder has connected.
type header struct {
	own            bool // for nobody but itself: its check whether we are well
	client, server netip.AddrPort
}

// readHeader reads a header of either version, and nothing beyond it. in has room for maxHeader octets.
func readHeader(in *bufio.Reader) (header, error) {
	first, err := in.Peek(1)
	if err != nil {
		return header{}, err
	}
	if first[0] == signature1[0] {
		return readHeader1(in)
	}
	return readHeader2(in)
}

// readHeader1 reads a line such as "PROXY TCP4 192.0.2.1 198.51.100.1 34567 25".
func readHeader1(in *bufio.Reader) (header, error) {
	line := make([]byte, 0, maxHeader1)
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxHeader1 {
			return header{}, fmt.Errorf("%w: line longer than %d octets", ErrHeader, maxHeader1)
		}
		c, err := in.ReadByte()
		if err != nil {
			return header{}, err
		}
		line = append(line, c)
		if n := min(len(line), len(signature1)); string(line[:n]) != signature1[:n] {
			return header{}, fmt.Errorf("%w: it begins with %q", ErrHeader, line)
		}
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if words[1] == "UNKNOWN" {
		return header{own: true}, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return header{}, fmt.Errorf("%w: %q", ErrHeader, line)
	}
	client, err1 := parseEnd(words[2], words[4], words[1] == "TCP4")
	server, err2 := parseEnd(words[3], words[5], words[1] == "TCP4")
	return header{client: client, server: server}, errors.Join(err1, err2)
}

// parseEnd reads one end of a connection.
func parseEnd(addr, port string, four bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	n, err2 := strconv.ParseUint(port, 10, 16)
	if err != nil || err2 != nil || a.Is4() != four || a.Zone() != "" || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, fmt.Errorf("%w: no address %q with port %q", ErrHeader, addr, port)
	}
	return end(a, uint16(n))
}

// end is one end of a connection as we have it everywhere: IPv4 in its short form. Nobody connects from or to what is no
// address of a single machine.
func end(a netip.Addr, port uint16) (netip.AddrPort, error) {
	a = a.Unmap()
	if a.IsUnspecified() || a.IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("%w: %s is nobody's address", ErrHeader, a)
	}
	return netip.AddrPortFrom(a, port), nil
}

// Octets of the fixed part of version 2.
const (
	fixed2       = 16
	commandLocal = 0x20 // version and command: the forwarder's own connection
	commandProxy = 0x21

	familyNone = 0x00 // family and protocol: not known, which makes it the forwarder's own
	familyTCP4 = 0x11
	familyTCP6 = 0x21
	typeCRC    = 0x03 // of an addition: CRC32c of the whole header
)

// readHeader2 reads the binary form.
func readHeader2(in *bufio.Reader) (header, error) {
	for n := 1; n <= len(signature2); n++ { // octet by octet: who begins otherwise need not send more
		have, err := in.Peek(n)
		if err != nil {
			return header{}, err
		}
		if have[n-1] != signature2[n-1] {
			return header{}, fmt.Errorf("%w: it begins with %q", ErrHeader, have)
		}
	}
	fixed, err := in.Peek(fixed2)
	if err != nil {
		return header{}, err
	}
	size := fixed2 + int(binary.BigEndian.Uint16(fixed[14:]))
	if size > maxHeader {
		return header{}, fmt.Errorf("%w: %d octets are more than %d", ErrHeader, size, maxHeader)
	}
	all, err := in.Peek(size)
	if err != nil {
		return header{}, err
	}
	h, err := parseHeader2(all)
	if err == nil {
		_, err = in.Discard(size)
	}
	return h, err
}

// parseHeader2 reads a whole header of version 2.
func parseHeader2(all []byte) (header, error) {
	command, family, rest := all[12], all[13], all[fixed2:]
	var wide int // octets of an address
	switch {
	case command == commandLocal:
		return header{own: true}, nil // whatever else it says is to be ignored
	case command != commandProxy:
		return header{}, fmt.Errorf("%w: version and command %#x", ErrHeader, command)
	case family == familyNone:
		return header{own: true}, nil
	case family == familyTCP4:
		wide = 4
	case family == familyTCP6:
		wide = 16
	default:
		return header{}, fmt.Errorf("%w: family %#x is not TCP over IP", ErrHeader, family)
	}
	if len(rest) < 2*wide+4 {
		return header{}, fmt.Errorf("%w: %d octets of addresses", ErrHeader, len(rest))
	}
	if err := checkAdditions(all, rest[2*wide+4:]); err != nil {
		return header{}, err
	}
	src, _ := netip.AddrFromSlice(rest[:wide])
	dst, _ := netip.AddrFromSlice(rest[wide : 2*wide])
	ports := rest[2*wide:]
	client, err1 := end(src, binary.BigEndian.Uint16(ports))
	server, err2 := end(dst, binary.BigEndian.Uint16(ports[2:]))
	return header{client: client, server: server}, errors.Join(err1, err2)
}

// checkAdditions goes through what stands behind the addresses. Nothing of it is used, least of all what it says of the
// client's TLS: that ended at the forwarder. But it must be whole, and a checksum must be right.
func checkAdditions(all, rest []byte) error {
	for len(rest) > 0 {
		if len(rest) < 3 || len(rest)-3 < int(binary.BigEndian.Uint16(rest[1:])) {
			return fmt.Errorf("%w: an addition is cut off", ErrHeader)
		}
		value := rest[3:][:binary.BigEndian.Uint16(rest[1:])]
		if rest[0] == typeCRC {
			if len(value) != 4 {
				return fmt.Errorf("%w: a checksum of %d octets", ErrHeader, len(value))
			}
			want := binary.BigEndian.Uint32(value)
			at := len(all) - len(rest) + 3
			text := slices.Concat(all[:at], make([]byte, 4), all[at+4:]) // it is itself counted as zero
			if crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)) != want {
				return fmt.Errorf("%w: wrong checksum", ErrHeader)
			}
		}
		rest = rest[3+len(value):]
	}
	return nil
}

// What startsHeader knows.
const (
	no = iota
	perhaps
	yes
)

// startsHeader tells whether what a connection began with is a header of either version.
func startsHeader(seen []byte) int {
	for _, signature := range []string{signature1, signature2} {
		if n := min(len(seen), len(signature)); string(seen[:n]) == signature[:n] {
			if n == len(signature) {
				return yes
			}
			return perhaps
		}
	}
	return no
}
