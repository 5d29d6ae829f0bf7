package maildir

import "io"

// WireSize reads a message to its end and returns its size and its size on the wire: there every LF that no CR precedes
// becomes CRLF.
func WireSize(r io.Reader) (size, wire int64, err error) {
	buf := make([]byte, 64<<10)
	var last byte
	for {
		n, err := r.Read(buf)
		for _, c := range buf[:n] {
			if c == '\n' && last != '\r' {
				wire++
			}
			last = c
		}
		size += int64(n)
		if err == io.EOF {
			return size, size + wire, nil
		}
		if err != nil {
			return 0, 0, err
		}
	}
}
