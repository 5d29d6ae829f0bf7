package imapd

import (
	"errors"
	"io"
	"math"
	"os"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/message"
)

// needs is how much of a message has to be read to answer a FETCH.
type needs int

const (
	needNothing needs = iota
	needHeader        // the header of the message
	needText          // all of it
)

func needsOf(o *imap.FetchOptions) needs {
	if o.BodyStructure != nil || len(o.BinarySection) > 0 || len(o.BinarySectionSize) > 0 {
		return needText
	}
	need := needNothing
	if o.Envelope {
		need = needHeader
	}
	for _, b := range o.BodySection {
		if b.Specifier != imap.PartSpecifierHeader || len(b.Part) > 0 {
			return needText
		}
		need = needHeader
	}
	return need
}

// maxBuffer is the length up to which a message is read at once; a larger one is read piece by piece.
const maxBuffer = 1 << 20

// A text is a message that is open for reading.
type text struct {
	reader *fetcher
	uid    storage.UID
	file   *os.File
	src    io.ReaderAt // the file, or what was read of it
	size   int64
	head   message.Header   // see header
	tree   *message.Message // see parse
}

// parsed is the structure of a large message, kept because clients fetch such a one in many pieces.
type parsed struct {
	uid  storage.UID
	size int64
	tree *message.Message
}

// open opens a message as far as it is needed.
func (f *fetcher) open(uid storage.UID) (*text, error) {
	t := &text{reader: f, uid: uid}
	if f.needs == needNothing {
		return t, nil
	}
	var err error
	if t.file, _, err = f.session.box.mailbox.Message(f.session.ctx, uid); err != nil {
		return nil, err
	}
	info, err := t.file.Stat()
	if err == nil {
		t.src, t.size = t.file, info.Size()
		if f.needs == needText {
			err = t.load()
		}
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// load reads the message, unless it is large. The buffer is used again for the next one.
func (t *text) load() error {
	if _, loaded := t.src.(message.Bytes); loaded || t.size > maxBuffer {
		return nil
	}
	f := t.reader
	if int64(cap(f.buffer)) < t.size {
		f.buffer = make([]byte, t.size+t.size/4)
	}
	b := f.buffer[:t.size]
	if n, err := t.file.ReadAt(b, 0); n < len(b) {
		return errors.Join(err, io.ErrUnexpectedEOF)
	}
	t.src = message.Bytes(b)
	return nil
}

func (t *text) close() {
	if t.file != nil {
		t.file.Close()
	}
}

// parse finds the structure, once.
func (t *text) parse() (*message.Message, error) {
	if t.tree != nil {
		return t.tree, nil
	}
	cache := t.reader.cache
	if t.size <= maxBuffer {
		cache = nil
	}
	if cache != nil && cache.uid == t.uid && cache.size == t.size {
		t.tree = cache.tree
		return t.tree, nil
	}
	err := t.load()
	if err != nil {
		return nil, err
	}
	if t.tree, err = message.Parse(t.src, t.size, message.Limits{}); err != nil {
		return nil, err
	}
	if cache != nil {
		*cache = parsed{t.uid, t.size, t.tree}
	}
	return t.tree, nil
}

// header reads the header of the message, once.
func (t *text) header() (message.Header, error) {
	if t.head != nil {
		return t.head, nil
	}
	var err error
	t.head, err = message.ReadHeader(t.src, t.size, message.Limits{})
	return t.head, err
}

// An item writes one literal of an answer, or its length.
type item func(*imapserver.FetchResponseWriter) error

// bodies finds the pieces that are asked for. Those that are not there are empty.
func (f *fetcher) bodies(t *text) ([]item, error) {
	var items []item
	for _, section := range f.options.BodySection {
		piece, err := f.piece(t, section)
		if err != nil {
			return nil, err
		}
		items = append(items, func(out *imapserver.FetchResponseWriter) error {
			off, n := rangeOf(section.Partial)
			lit := out.WriteBodySection(section, piece.Range(off, n))
			return errors.Join(piece.CopyTo(lit, t.src, off, n), lit.Close())
		})
	}
	for _, section := range f.options.BinarySection {
		part, size, err := t.decoded(section.Part)
		if err != nil {
			return nil, err
		}
		items = append(items, func(out *imapserver.FetchResponseWriter) error {
			off, n := rangeOf(section.Partial)
			off = min(off, size)
			n = min(n, size-off)
			lit := out.WriteBinarySection(section, n)
			return errors.Join(t.copyDecoded(lit, part, off, n), lit.Close())
		})
	}
	for _, section := range f.options.BinarySectionSize {
		_, size, err := t.decoded(section.Part)
		if err != nil {
			return nil, err
		}
		items = append(items, func(out *imapserver.FetchResponseWriter) error {
			out.WriteBinarySectionSize(section, uint32(min(size, math.MaxUint32)))
			return nil
		})
	}
	return items, nil
}

// rangeOf is the range of octets of a partial fetch.
func rangeOf(p *imap.SectionPartial) (off, n int64) {
	if p == nil {
		return 0, math.MaxInt64
	}
	return p.Offset, p.Size
}

// piece finds one section, in the cheapest way: the header alone, all without looking into it, or by the structure.
func (f *fetcher) piece(t *text, b *imap.FetchItemBodySection) (message.Piece, error) {
	section := message.Section{Path: b.Part, Fields: b.HeaderFields}
	if len(b.HeaderFieldsNot) > 0 {
		section.Fields, section.Except = b.HeaderFieldsNot, true
	}
	switch b.Specifier {
	case imap.PartSpecifierHeader:
		section.Kind = message.Head
		if len(b.Part) == 0 {
			h, err := t.header()
			if err != nil {
				return message.Piece{}, err
			}
			if section.Fields != nil {
				return message.Octets(h.Select(section.Fields, section.Except)), nil
			}
			if len(h) < message.DefaultHeaderBytes { // all of it
				return message.Octets(h.Wire()), nil
			}
		}
	case imap.PartSpecifierMIME:
		section.Kind = message.MIME
	case imap.PartSpecifierText:
		section.Kind = message.Text
	default:
		if len(b.Part) == 0 && b.Partial == nil {
			return message.Whole(t.src, t.size)
		}
	}
	tree, err := t.parse()
	if err != nil {
		return message.Piece{}, err
	}
	piece, err := tree.Piece(t.src, section)
	if errors.Is(err, message.ErrNoSection) {
		return message.Piece{}, nil
	}
	return piece, err
}

// decoded finds the part of a BINARY and counts its octets without transfer encoding (RFC 3516 section 4.2). No part
// is the message, as it is.
func (t *text) decoded(path []int) (*message.Part, int64, error) {
	tree, err := t.parse()
	if err != nil {
		return nil, 0, err
	}
	if len(path) == 0 {
		return nil, tree.WireSize(), nil
	}
	part := tree.Find(path)
	if part == nil {
		return nil, 0, message.ErrNoSection
	}
	r, err := tree.Decoded(t.src, part)
	if err != nil {
		return nil, 0, err
	}
	size, err := io.Copy(io.Discard, r)
	return part, size, err
}

// copyDecoded writes n octets of a part from off on; of the message if part is nil.
func (t *text) copyDecoded(w io.Writer, part *message.Part, off, n int64) error {
	if part == nil {
		piece, err := t.tree.Piece(t.src, message.Section{})
		if err != nil {
			return err
		}
		return piece.CopyTo(w, t.src, off, n)
	}
	r, err := t.tree.Decoded(t.src, part)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return err
	}
	_, err = io.CopyN(w, r, n)
	return err
}
