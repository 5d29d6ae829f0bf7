package imapd

import (
	"bytes"
	"io"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/mailbox"
)

// Append is APPEND (RFC 9051 section 6.3.12). The engine has asked for the message already; what is not read it reads
// past, so that every refusal comes before the message is stored anywhere.
func (s *session) Append(name string, r imap.LiteralReader, options *imap.AppendOptions) (*imap.AppendData, error) {
	defer listen.Hold(s.wire.Conn)() // a shutdown lets it come to its end
	flags, err := parseFlags(options.Flags)
	if err != nil {
		return nil, s.reply(err)
	}
	if err := s.home.CheckQuota(s.ctx, s.quota(), r.Size()); err != nil {
		return nil, s.reply(err)
	}
	staged, err := s.stage(r, options)
	if err != nil {
		return nil, s.reply(err)
	}
	defer staged.Discard()
	done, err := s.home.Append(s.ctx, name, staged, mailbox.AppendOptions{
		Flags: flags.bits, Keywords: flags.keywords, Quota: s.quota(),
	})
	if err != nil {
		return nil, s.reply(tryCreate(err))
	}
	return &imap.AppendData{UIDValidity: done.UIDValidity, UID: imap.UID(done.UID)}, nil
}

// stage writes the message to a file of its own.
func (s *session) stage(r imap.LiteralReader, options *imap.AppendOptions) (*mailbox.Staged, error) {
	staged, err := s.server.store.Stage()
	if err != nil {
		return nil, err
	}
	if !options.Time.IsZero() {
		staged.SetDate(options.Time)
	}
	n, err := io.Copy(textWriter{staged}, r)
	if err == nil && n < r.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && n > s.server.opts.MaxBytes {
		err = storage.ErrTooLarge
	}
	if err == nil {
		err = staged.Seal()
	}
	if err != nil {
		staged.Discard()
		return nil, err
	}
	return staged, nil
}

// A textWriter refuses NUL, which a message has only in a binary part (RFC 3516 section 4.4): files hold lines.
type textWriter struct{ dst *mailbox.Staged }

func (w textWriter) Write(p []byte) (int, error) {
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, errBinary
	}
	return w.dst.Write(p)
}
