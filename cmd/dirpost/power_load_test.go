//go:build power

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/go-ldap/ldap/v3"
)

// TestPowerCutUnderLoad cuts the power while many clients do everything at once. What was acknowledged to any of them is
// there when the power is back, what was under way is there whole or not at all, and no number comes again.
func TestPowerCutUnderLoad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		tracer []string
		loses  bool
	}{
		{"the server as it is", nil, false},
		{"without any sync", noSyncs, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, why := newPowerSite(t)
			if s == nil {
				t.Log(noDisk, why)
				return
			}
			s.tracer = tt.tracer
			l := newLedger(s)
			for round := range 2 {
				s.boot()
				if tt.loses {
					s.mustOpenFolders()
					s.must(s.disk.sync())
				}
				l.loadAndCut(fmt.Sprintf("round%d", round))
				reserved := s.numbers.demandReserved(s)
				s.boot()
				err := errors.Join(reserved, l.verify())
				if (err != nil) != tt.loses {
					t.Fatalf("the power cut loses something: %v, want %v: %v", err != nil, tt.loses, err)
				}
				if tt.loses {
					return
				}
				for _, folder := range []string{"INBOX", "Archive", "Sent"} {
					s.must(s.numbers.demandNew(s, folder, fmt.Sprintf("after%d", round)))
				}
				s.must(s.numbers.note(s))
				t.Logf("acknowledged, and there: %v", l.count)
				s.kill()
			}
		})
	}
}

// mustOpenFolders has the home of alice made.
func (s *powerSite) mustOpenFolders() {
	s.t.Helper()
	c, err := s.imapSession("alice", "INBOX")
	s.must(err)
	c.Close()
}

// awaitView waits until the server has heard what changed in the directory while it was stopped. Who logs in earlier, and
// whose entry is among that, is sent away again; and so is who has set a password in this second, when the entry changes once
// more in it.
func (s *powerSite) awaitView() {
	s.t.Helper()
	time.Sleep(1100 * time.Millisecond)
	for begun := time.Now(); !strings.Contains(s.log.String(), `"the directory tells of changes"`); time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			s.t.Fatalf("the server has no view of the directory:\n%s", s.log)
		}
	}
}

// A place is where a message of alice may be.
type place struct{ folder, token string }

// A promise is what the server has said of a place. When it is unsure, because the reply to a change is outstanding, the
// message may also have become what follows.
type promise struct {
	uid    imap.UID // 0 if it was not told
	flags  []imap.Flag
	gone   bool
	unsure bool
}

// A ledger has all that was acknowledged, entered as soon as the reply is read.
type ledger struct {
	s       *powerSite
	cutting atomic.Bool // clients may fail from now on

	mu       sync.Mutex // guards what follows
	promises map[place]promise
	moving   map[string][2]string // from and to, by token, while the reply is outstanding
	facts    []func() error       // of the directory
	number   int                  // last written into the directory
	count    map[string]int       // replies by kind
	lacking  map[string]int       // replies that are to come before the cut
	enough   chan struct{}        // closed when none is
}

func newLedger(s *powerSite) *ledger {
	return &ledger{s: s, promises: map[place]promise{}, moving: map[string][2]string{}, count: map[string]int{}}
}

// acknowledged enters the reply to an operation.
func (l *ledger) acknowledged(kind string, enter func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	enter()
	l.count[kind]++
	if _, ok := l.lacking[kind]; !ok {
		return
	}
	if l.lacking[kind]--; l.lacking[kind] == 0 {
		delete(l.lacking, kind)
	}
	if len(l.lacking) == 0 {
		l.lacking = nil
		close(l.enough)
	}
}

// about enters that an operation is about to be asked for.
func (l *ledger) about(enter func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	enter()
}

// loadAndCut has clients work until enough of everything is acknowledged, and cuts the power.
func (l *ledger) loadAndCut(prefix string) {
	t := l.s.t
	t.Helper()
	l.s.awaitView()
	l.enough = make(chan struct{})
	l.lacking = map[string]int{
		"lmtp": 100, "mx": 50, "submission": 50, "APPEND": 60, "STORE": 60, "COPY": 20, "MOVE": 20, "EXPUNGE": 20,
		"ldap": 100, "user": 1, "alias": 1, "password": 1,
	}
	l.cutting.Store(false)
	workers := []func(prefix string) error{
		l.sender("lmtp"), l.sender("lmtp"), l.sender("mx"), l.sender("submission"), l.reader, l.reader, l.administrator, l.commander,
	}
	var working sync.WaitGroup
	for i, work := range workers {
		working.Go(func() {
			if err := work(fmt.Sprintf("%s-%d-", prefix, i)); !l.cutting.Load() {
				t.Errorf("before the power was cut: %v", err)
			}
		})
	}
	select {
	case <-l.enough:
	case <-time.After(patience):
		l.about(func() { t.Errorf("of these replies too few came: %v", l.lacking) })
	}
	if err := l.s.numbers.note(l.s); err != nil {
		t.Error(err)
	}
	l.cutting.Store(true)
	l.s.blackout()
	working.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// sender sends messages to alice.
func (l *ledger) sender(service string) func(string) error {
	return func(prefix string) error {
		send, err := l.s.readySender(service)
		for i := 0; err == nil; i++ {
			token := prefix + strconv.Itoa(i)
			if err = send("alice@example.org", token); err == nil {
				l.acknowledged(service, func() { l.promises[place{"INBOX", token}] = promise{} })
			}
		}
		return err
	}
}

// reader does with her messages what a mail program does.
func (l *ledger) reader(prefix string) error {
	c, err := l.s.readyIn("INBOX")
	for i := 0; err == nil; i++ {
		token := prefix + strconv.Itoa(i)
		var uid imap.UID
		if uid, err = appendTo(c, "INBOX", token); err != nil {
			break
		}
		here := place{"INBOX", token}
		l.acknowledged("APPEND", func() { l.promises[here] = promise{uid: uid} })
		flags := []imap.Flag{imap.FlagSeen, imap.Flag(fmt.Sprintf("keyword%d", i%10))}
		if err = addFlags(c, uid, flags...); err != nil {
			break
		}
		l.acknowledged("STORE", func() { l.promises[here] = promise{uid: uid, flags: flags} })
		switch i % 3 {
		case 0:
			err = l.copy(c, here, uid, flags)
		case 1:
			err = l.move(c, here, uid, flags)
		case 2:
			err = l.expunge(c, here, uid)
		}
	}
	return err
}

func (l *ledger) copy(c *imapclient.Client, here place, uid imap.UID, flags []imap.Flag) error {
	data, err := c.Copy(imap.UIDSetNum(uid), "Archive").Wait()
	if err == nil {
		l.acknowledged("COPY", func() { l.promises[place{"Archive", here.token}] = promise{uid: oneUID(data.DestUIDs), flags: flags} })
	}
	return err
}

func (l *ledger) move(c *imapclient.Client, here place, uid imap.UID, flags []imap.Flag) error {
	there := place{"Sent", here.token}
	l.about(func() {
		l.promises[here] = promise{uid: uid, flags: flags, unsure: true}
		l.moving[here.token] = [2]string{here.folder, there.folder}
	})
	data, err := c.Move(imap.UIDSetNum(uid), there.folder).Wait()
	if err == nil {
		to, _ := data.DestUIDs.(imap.UIDSet)
		l.acknowledged("MOVE", func() {
			l.promises[here] = promise{gone: true}
			l.promises[there] = promise{uid: oneUID(to), flags: flags}
			delete(l.moving, here.token)
		})
	}
	return err
}

func (l *ledger) expunge(c *imapclient.Client, here place, uid imap.UID) error {
	if err := addFlags(c, uid, imap.FlagDeleted); err != nil {
		return err
	}
	l.about(func() { l.promises[here] = promise{uid: uid, unsure: true} })
	_, err := c.UIDExpunge(imap.UIDSetNum(uid)).Collect()
	if err == nil {
		l.acknowledged("EXPUNGE", func() { l.promises[here] = promise{gone: true} })
	}
	return err
}

func oneUID(set imap.UIDSet) imap.UID {
	if all, ok := set.Nums(); ok && len(all) == 1 {
		return all[0]
	}
	return 0
}

// administrator writes into the directory by LDAP.
func (l *ledger) administrator(prefix string) error {
	c, err := l.s.ldapSession()
	if err != nil {
		return err
	}
	l.s.later(c)
	for i := 0; err == nil; i++ {
		name := prefix + strconv.Itoa(i)
		if err = c.Add(unit(name)); err != nil {
			break
		}
		l.acknowledged("ldap", func() {
			l.facts = append(l.facts, func() error { return l.s.demandValue("(ou="+name+")", "ou", name) })
		})
		next := l.number + 1 // nobody else counts
		change := ldap.NewModifyRequest("uid=alice,ou=people,"+siteBase, nil)
		change.Replace("description", []string{strconv.Itoa(next)})
		if err = c.Modify(change); err == nil {
			l.acknowledged("ldap", func() { l.number = next })
		}
	}
	return err
}

// commander uses the commands.
func (l *ledger) commander(prefix string) error {
	for i := 0; ; i++ {
		login := prefix + strconv.Itoa(i)
		password := l.s.secret(login, login+"-secret")
		for _, step := range []struct {
			kind string
			args []string
			fact func() error
		}{
			{"user", []string{"user", "add", login, "--mail", login + "@example.org", "--password-file", l.s.path("alice.pw")},
				func() error { return l.s.demandValue("(uid="+login+")", "mail", login+"@example.org") }},
			{"alias", []string{"alias", "add", login + "-too@example.org", login},
				func() error { return l.s.demandValue("(mailLocalAddress="+login+"-too@example.org)", "uid", login) }},
			{"password", []string{"user", "passwd", login, "--password-file", password},
				func() error { return l.s.demandLogin(login, login+"-secret") }},
		} {
			if out, err := l.s.program(step.args...).CombinedOutput(); err != nil {
				return fmt.Errorf("dirpost %q: %w: %s", step.args, err, out)
			}
			l.acknowledged(step.kind, func() { l.facts = append(l.facts, step.fact) })
		}
	}
}

// verify holds what is there against the ledger.
func (l *ledger) verify() error {
	var errs []error
	boxes := map[string]map[string][]mailed{}
	for _, folder := range []string{"INBOX", "Archive", "Sent"} {
		all, err := l.s.mailbox("alice", folder)
		errs = append(errs, err)
		boxes[folder] = all
		for token, m := range all {
			if len(m) != 1 || !m[0].whole {
				errs = append(errs, fmt.Errorf("%s in %s is %+v, want it once and whole", token, folder, m))
			}
		}
	}
	for at, c := range l.promises {
		errs = append(errs, c.holds(at, boxes[at.folder][at.token]))
	}
	for token, folders := range l.moving {
		if boxes[folders[0]][token] == nil && boxes[folders[1]][token] == nil {
			errs = append(errs, fmt.Errorf("%s was being moved and is neither in %s nor in %s", token, folders[0], folders[1]))
		}
	}
	for _, fact := range l.facts {
		errs = append(errs, fact())
	}
	got, err := l.s.values("(uid=alice)", "description")
	if err != nil || len(got) != 1 || got[0] != strconv.Itoa(l.number) && got[0] != strconv.Itoa(l.number+1) {
		errs = append(errs, fmt.Errorf("the directory says %q, %v; want %d, or the next", got, err, l.number))
	}
	l.settle(boxes)
	return errors.Join(errs...)
}

// holds compares a promise with what is there.
func (p promise) holds(at place, found []mailed) error {
	switch {
	case p.gone && found != nil:
		return fmt.Errorf("%s is back in %s: %+v", at.token, at.folder, found)
	case p.gone, p.unsure && found == nil:
		return nil
	case found == nil:
		return fmt.Errorf("%s is not in %s", at.token, at.folder)
	case p.uid != 0 && found[0].uid != p.uid:
		return fmt.Errorf("%s in %s has UID %d, was told %d", at.token, at.folder, found[0].uid, p.uid)
	}
	return found[0].demandFlags(at.token, p.flags)
}

// settle forgets what was under way: from now on what is there counts.
func (l *ledger) settle(boxes map[string]map[string][]mailed) {
	for at, c := range maps.Clone(l.promises) {
		if !c.unsure {
			continue
		}
		if delete(l.promises, at); boxes[at.folder][at.token] != nil {
			l.promises[at] = promise{uid: c.uid}
		}
	}
	clear(l.moving)
	got, err := l.s.values("(uid=alice)", "description")
	if n, err2 := strconv.Atoi(slices.Concat(got, []string{""})[0]); err == nil && err2 == nil {
		l.number = n
	}
}
