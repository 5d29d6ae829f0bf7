package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/dirpost/dirpost/storage"
)

// A Mailbox is a folder that a session has open. Sessions that open the same folder share everything but the handle.
type Mailbox struct {
	box  *box
	once sync.Once
}

// Open opens a folder for reading and changing, until Close. It is storage.ErrNoMailbox if there is none.
func (h *Home) Open(ctx context.Context, name string) (*Mailbox, error) {
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer h.store.release(live)
	b, err := live.box(name)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	b.hold()
	err = b.refreshOrLoad(ctx)
	if err != nil {
		b.release()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &Mailbox{box: b}, nil
}

// refreshOrLoad brings the view up to date.
func (b *box) refreshOrLoad(ctx context.Context) error {
	if b.view.Load() != nil {
		return b.refresh(ctx)
	}
	return b.do(ctx, (*tx).load)
}

// hold counts an open mailbox in, release out. While there is one, the box stays loaded and its home in memory.
func (b *box) hold() {
	b.mu.Lock()
	b.refs++
	b.mu.Unlock()
	s := b.home.store
	s.mu.Lock()
	defer s.mu.Unlock()
	b.home.users++
}

func (b *box) release() {
	b.mu.Lock()
	b.refs--
	b.used = time.Now()
	b.mu.Unlock()
	s := b.home.store
	s.mu.Lock()
	b.home.users--
	b.home.used = time.Now()
	s.mu.Unlock()
}

// Close gives the mailbox back. It may be called again. Watches of it are to be closed on their own.
func (m *Mailbox) Close() { m.once.Do(m.box.release) }

// Name is the name of the folder now: it may be renamed while it is open.
func (m *Mailbox) Name() string {
	name, _ := m.box.place()
	return name
}

// UIDValidity is that of the folder.
func (m *Mailbox) UIDValidity() uint32 { return m.View().UIDValidity }

// View is the mailbox now.
func (m *Mailbox) View() *View { return m.box.view.Load() }

// enter and leave frame every call that may reach the disk.
func (m *Mailbox) enter(ctx context.Context) error { return m.box.home.store.enter(ctx) }

func (m *Mailbox) leave() { m.box.home.store.leave() }

// Message opens the file of a message, which has Size octets and LF line ends unless another program wrote it. The caller
// closes it. It is storage.ErrNoMessage if the message is gone.
func (m *Mailbox) Message(ctx context.Context, uid storage.UID) (*os.File, storage.Message, error) {
	if err := m.enter(ctx); err != nil {
		return nil, storage.Message{}, err
	}
	defer m.leave()
	looks := []func() error{
		func() error { return nil },
		func() error { return m.box.refresh(ctx) },           // another program renamed the file
		func() error { return m.box.do(ctx, (*tx).scanAll) }, // and we were not told
	}
	for _, look := range looks {
		if err := look(); err != nil {
			return nil, storage.Message{}, fmt.Errorf("message %d: %w", uid, err)
		}
		view := m.View()
		i, ok := view.Find(uid)
		if !ok {
			break
		}
		row := view.row(i)
		_, dir := m.box.place()
		f, err := dir.OpenFile(row.Sub, row.File)
		if err == nil {
			return f, message(row), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, storage.Message{}, fmt.Errorf("message %d: %w", uid, err)
		}
	}
	return nil, storage.Message{}, fmt.Errorf("message %d: %w", uid, storage.ErrNoMessage)
}
