package ldapwire

import "github.com/dirpost/dirpost/directory/dit"

// Names of RFC 4533 that stand in answers: the controls of entries and of the end, and the message between them.
const (
	syncStateOID = "1.3.6.1.4.1.4203.1.9.1.2"
	syncDoneOID  = "1.3.6.1.4.1.4203.1.9.1.3"
	syncInfoOID  = "1.3.6.1.4.1.4203.1.9.1.4"
)

// Choices of a syncInfoValue (RFC 4533 section 2.5).
const (
	syncNewCookie      = context
	syncRefreshDelete  = context | constructed | 1
	syncRefreshPresent = context | constructed | 2
	syncIDSet          = context | constructed | 3
)

// The modes of a sync request (RFC 4533 section 2.2).
const (
	refreshOnly       = 1
	refreshAndPersist = 3
)

// A SyncRequest is the value of the sync request control. The reload hint is read and dropped: who has no cookie gets
// everything anyway.
type SyncRequest struct {
	Persist bool
	Cookie  []byte
}

// DecodeSyncRequest reads the value of the sync request control. The error is a [SyntaxError].
func DecodeSyncRequest(value []byte) (SyncRequest, error) {
	d := &decoder{}
	outer := reader{buf: value, d: d}
	in := outer.sequence()
	var r SyncRequest
	switch in.integer(tagEnumerated, maxInt) {
	case refreshOnly:
	case refreshAndPersist:
		r.Persist = true
	default:
		in.syntax("mode is unknown")
	}
	if in.at(tagOctetString) {
		r.Cookie = in.octets(tagOctetString)
	}
	in.end()
	outer.end()
	return r, d.err
}

// AppendSync appends the message for one step of a synchronization: an entry with its state, or an intermediate
// response (RFC 4511 section 4.13).
func AppendSync(b []byte, id int32, m *dit.SyncMessage) []byte {
	if m.Entry != nil {
		return AppendEntry(b, id, m.Entry, Control{OID: syncStateOID, Value: encodeSyncState(m)})
	}
	w := builder{b}
	message := w.open(tagSequence)
	w.integer(tagInteger, int64(id))
	op := w.open(tagIntermediateResponse)
	octets(&w, context, syncInfoOID)
	value := w.open(context | 1)
	w.syncInfo(m)
	w.close(value)
	w.close(op)
	w.close(message)
	return w.b
}

func encodeSyncState(m *dit.SyncMessage) []byte {
	w := builder{}
	seq := w.open(tagSequence)
	w.integer(tagEnumerated, int64(m.State))
	octets(&w, tagOctetString, m.UUID[:])
	w.cookie(m.Cookie)
	w.close(seq)
	return w.b
}

// syncInfo appends a syncInfoValue. What has its default is left out.
func (w *builder) syncInfo(m *dit.SyncMessage) {
	switch {
	case m.Done:
		tag := byte(syncRefreshPresent)
		if m.Kept {
			tag = syncRefreshDelete
		}
		seq := w.open(tag)
		w.cookie(m.Cookie)
		w.close(seq)
	case m.Gone != nil:
		seq := w.open(syncIDSet)
		w.cookie(m.Cookie)
		w.b = append(w.b, tagBoolean, 1, 0xff)
		set := w.open(tagSet)
		for _, id := range m.Gone {
			octets(w, tagOctetString, id[:])
		}
		w.close(set)
		w.close(seq)
	default:
		octets(w, syncNewCookie, m.Cookie)
	}
}

// cookie appends the cookie, if there is one.
func (w *builder) cookie(cookie string) {
	if cookie != "" {
		octets(w, tagOctetString, cookie)
	}
}

// SyncDone is the control of the result that ends a refresh without persistence (RFC 4533 section 2.4).
func SyncDone(m *dit.SyncMessage) Control {
	w := builder{}
	seq := w.open(tagSequence)
	w.cookie(m.Cookie)
	if m.Kept {
		w.b = append(w.b, tagBoolean, 1, 0xff)
	}
	w.close(seq)
	return Control{OID: syncDoneOID, Value: w.b}
}
