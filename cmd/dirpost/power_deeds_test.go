//go:build power

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

// A deed is one operation that a client is told the success of, and what must then be true whatever happens.
type deed struct {
	name string
	mail bool // it ends with the sync of a mail directory

	restart bool // whether it holds can be asked after a restart only

	// ready prepares everything but the operation, on a connection of its own. act does it, and returns when its one reply
	// has been read. holds is asked after a restart.
	ready func(s *powerSite, token string) (act, holds func() error, err error)
}

func powerDeeds() []deed {
	return slices.Concat(arrivalDeeds(), messageDeeds(), folderDeeds(), queueDeeds(), directoryDeeds())
}

// queueDeeds are what the queue keeps.
func queueDeeds() []deed {
	return []deed{{
		name: "MX, of which a part has to wait", mail: true, restart: true,
		ready: func(s *powerSite, token string) (act, holds func() error, err error) { return s.readyForTwo(token) },
	}}
}

// arrivalDeeds are the ways into a mailbox.
func arrivalDeeds() []deed {
	return []deed{
		{name: "LMTP", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			return s.readyToSend("lmtp", "alice", token)
		}},
		{name: "MX", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			return s.readyToSend("mx", "alice", token)
		}},
		{name: "submission", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			return s.readyToSend("submission", "alice", token)
		}},
		{name: "the first message of a new user", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			s.addUser(token)
			return s.readyToSend("lmtp", token, token)
		}},
		{name: "APPEND", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			c, err := s.readyIn("INBOX")
			return func() error {
					_, err := appendTo(c, "INBOX", token)
					return err
				}, func() error {
					_, err := s.only("alice", "INBOX", token)
					return err
				}, err
		}},
		{name: "APPEND with a flag and a new keyword", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			c, err := s.readyIn("INBOX")
			return func() error {
					_, err := appendTo(c, "Archive", token, imap.FlagSeen, imap.Flag(token))
					return err
				}, func() error {
					return s.flagged("Archive", token, imap.FlagSeen, imap.Flag(token))
				}, err
		}},
	}
}

// messageDeeds are what is done to a message that is there.
func messageDeeds() []deed {
	return []deed{
		{name: "COPY", mail: true, ready: readyOn(func(s *powerSite, c *imapclient.Client, uid imap.UID, token string) (act, holds func() error) {
			return func() error {
					_, err := c.Copy(imap.UIDSetNum(uid), "Archive").Wait()
					return err
				}, func() error {
					_, there := s.only("alice", "Archive", token)
					_, here := s.only("alice", "INBOX", token)
					return errors.Join(there, here)
				}
		})},
		{name: "MOVE", mail: true, ready: readyOn(func(s *powerSite, c *imapclient.Client, uid imap.UID, token string) (act, holds func() error) {
			return func() error {
					_, err := c.Move(imap.UIDSetNum(uid), "Sent").Wait()
					return err
				}, func() error {
					_, err := s.only("alice", "Sent", token)
					return errors.Join(err, s.gone("alice", "INBOX", token))
				}
		})},
		{name: "STORE", mail: true, ready: readyOn(func(s *powerSite, c *imapclient.Client, uid imap.UID, token string) (act, holds func() error) {
			return func() error { return addFlags(c, uid, imap.FlagAnswered, imap.FlagFlagged) },
				func() error { return s.flagged("INBOX", token, imap.FlagAnswered, imap.FlagFlagged) }
		})},
		{name: "STORE of a new keyword", mail: true, ready: readyOn(func(s *powerSite, c *imapclient.Client, uid imap.UID, token string) (act, holds func() error) {
			return func() error { return addFlags(c, uid, imap.Flag(token)) },
				func() error { return s.flagged("INBOX", token, imap.Flag(token)) }
		})},
		{name: "EXPUNGE", mail: true, ready: readyOn(func(s *powerSite, c *imapclient.Client, uid imap.UID, token string) (act, holds func() error) {
			return func() error {
					_, err := c.UIDExpunge(imap.UIDSetNum(uid)).Collect()
					return err
				}, func() error {
					return s.gone("alice", "INBOX", token)
				}
		}, imap.FlagDeleted)},
	}
}

// folderDeeds are what is done to folders.
func folderDeeds() []deed {
	return []deed{
		{name: "CREATE", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			c, err := s.readyIn("INBOX")
			return func() error { return c.Create(token, nil).Wait() }, func() error { return s.listed(token, true) }, err
		}},
		{name: "RENAME", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			c, err := s.readyInNew(token)
			return func() error { return c.Rename(token, token+"-renamed", nil).Wait() }, func() error {
				_, err := s.only("alice", token+"-renamed", token)
				return errors.Join(err, s.listed(token, false))
			}, err
		}},
		{name: "DELETE", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			c, err := s.readyInNew(token)
			return func() error { return c.Delete(token).Wait() }, func() error { return s.listed(token, false) }, err
		}},
		{name: "SUBSCRIBE", mail: true, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			c, err := s.readyInNew(token)
			return func() error { return c.Subscribe(token).Wait() }, func() error { return s.subscribed(token) }, err
		}},
	}
}

// directoryDeeds are writes of the embedded directory, by LDAP and by the commands.
func directoryDeeds() []deed {
	return []deed{
		{name: "LDAP add", mail: false, ready: readyLDAP(func(s *powerSite, c *ldap.Conn, token string) (act, holds func() error) {
			return func() error { return c.Add(unit(token)) }, func() error { return s.demandValue("(ou="+token+")", "ou", token) }
		})},
		{name: "LDAP modify", mail: false, ready: readyLDAP(func(s *powerSite, c *ldap.Conn, token string) (act, holds func() error) {
			change := ldap.NewModifyRequest("uid=alice,ou=people,"+siteBase, nil)
			change.Replace("description", []string{token})
			return func() error { return c.Modify(change) }, func() error { return s.demandValue("(uid=alice)", "description", token) }
		})},
		{name: "LDAP rename", mail: false, ready: readyLDAP(func(s *powerSite, c *ldap.Conn, token string) (act, holds func() error) {
			s.must(c.Add(unit(token)))
			rename := ldap.NewModifyDNRequest("ou="+token+","+siteBase, "ou="+token+"-renamed", true, "")
			return func() error { return c.ModifyDN(rename) },
				func() error { return s.demandValue("(ou="+token+"-renamed)", "ou", token+"-renamed") }
		})},
		{name: "LDAP delete", mail: false, ready: readyLDAP(func(s *powerSite, c *ldap.Conn, token string) (act, holds func() error) {
			s.must(c.Add(unit(token)))
			return func() error { return c.Del(ldap.NewDelRequest("ou="+token+","+siteBase, nil)) },
				func() error { return s.demandValue("(ou="+token+")", "ou") }
		})},
		{name: "LDAP password", mail: false, ready: readyLDAP(func(s *powerSite, c *ldap.Conn, token string) (act, holds func() error) {
			s.must(c.Bind(s.addUser(token), alicePassword)) // one that another sets must be changed
			return func() error {
				_, err := c.PasswordModify(ldap.NewPasswordModifyRequest("", alicePassword, token+"-secret"))
				return err
			}, func() error { return s.demandLogin(token, token+"-secret") }
		})},
		{name: "user add", mail: false, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			return func() error {
				s.addUser(token)
				return nil
			}, func() error { return s.demandLogin(token, alicePassword) }, nil
		}},
		{name: "alias add", mail: false, ready: func(s *powerSite, token string) (act, holds func() error, err error) {
			return func() error {
				s.dirpost("alias", "add", token+"@example.org", "alice")
				return nil
			}, func() error { return s.demandValue("(uid=alice)", schema.AttrMailLocalAddress, token+"@example.org") }, nil
		}},
	}
}

// readyToSend opens a session to send a message on.
func (s *powerSite) readyToSend(service, to, token string) (act, holds func() error, err error) {
	send, err := s.readySender(service)
	return func() error { return send(to+"@example.org", token) }, func() error {
		_, err := s.only(to, "INBOX", token)
		return err
	}, err
}

// readyForTwo opens a session to send a message to alice and to somebody to whom nothing can be filed until a restart: his
// home becomes a file when both are taken.
func (s *powerSite) readyForTwo(token string) (act, holds func() error, err error) {
	s.addUser(token)
	c, err := s.smtpSession("mx")
	if err != nil {
		return nil, nil, err
	}
	s.later(c)
	if err := errors.Join(c.Mail("ann@example.net", nil), c.Rcpt("alice@example.org", nil), c.Rcpt(token+"@example.org", nil)); err != nil {
		return nil, nil, err
	}
	home := s.home(token)
	s.must(errors.Join(os.RemoveAll(home), os.WriteFile(home, nil, 0o600)))
	act = func() error {
		data, err := c.Data()
		if err != nil {
			return err
		}
		_, err = io.WriteString(data, powerText(token))
		return errors.Join(err, data.Close())
	}
	return act, func() error {
		if err := os.Remove(home); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_, one := s.only("alice", "INBOX", token)
		return errors.Join(one, s.retried(token))
	}, nil
}

// retried waits until what is queued has been tried again and somebody has the message.
func (s *powerSite) retried(token string) error {
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		var list []queueView
		if err := json.Unmarshal([]byte(s.dirpost("queue", "list", "--json")), &list); err != nil {
			return err
		}
		for _, item := range list {
			_ = s.program("queue", "retry", item.ID).Run() // it may be gone meanwhile
		}
		_, err := s.only(token, "INBOX", token)
		if err == nil || len(list) == 0 || time.Since(begun) > patience {
			return err
		}
	}
}

// readyIn opens a session of alice with a folder selected.
func (s *powerSite) readyIn(folder string) (*imapclient.Client, error) {
	c, err := s.imapSession("alice", folder)
	if err == nil {
		s.later(c)
	}
	return c, err
}

// readyInNew opens a session of alice and makes a folder with a message.
func (s *powerSite) readyInNew(folder string) (*imapclient.Client, error) {
	c, err := s.readyIn("INBOX")
	if err == nil {
		err = c.Create(folder, nil).Wait()
	}
	if err == nil {
		_, err = appendTo(c, folder, folder)
	}
	return c, err
}

// readyOn appends a message with flags to the selected INBOX for a deed on it.
func readyOn(on func(s *powerSite, c *imapclient.Client, uid imap.UID, token string) (act, holds func() error), flags ...imap.Flag) func(*powerSite, string) (act, holds func() error, err error) {
	return func(s *powerSite, token string) (act, holds func() error, err error) {
		c, err := s.readyIn("INBOX")
		if err != nil {
			return nil, nil, err
		}
		uid, err := appendTo(c, "INBOX", token, flags...)
		act, holds = on(s, c, uid, token)
		return act, holds, err
	}
}

// readyLDAP opens a session of the administrator for a deed.
func readyLDAP(on func(s *powerSite, c *ldap.Conn, token string) (act, holds func() error)) func(*powerSite, string) (act, holds func() error, err error) {
	return func(s *powerSite, token string) (act, holds func() error, err error) {
		c, err := s.ldapSession()
		if err != nil {
			return nil, nil, err
		}
		s.later(c)
		act, holds = on(s, c, token)
		return act, holds, nil
	}
}

func unit(name string) *ldap.AddRequest {
	add := ldap.NewAddRequest("ou="+name+","+siteBase, nil)
	add.Attribute("objectClass", []string{"organizationalUnit"})
	add.Attribute("ou", []string{name})
	return add
}

func (s *powerSite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// addUser makes a user with the password of alice.
func (s *powerSite) addUser(login string) (dn string) {
	s.t.Helper()
	s.dirpost("user", "add", login, "--mail", login+"@example.org", "--password-file", s.path("alice.pw"))
	return "uid=" + login + ",ou=people," + siteBase
}

// flagged demands that alice has a message with these flags among its own.
func (s *powerSite) flagged(folder, token string, flags ...imap.Flag) error {
	m, err := s.only("alice", folder, token)
	return errors.Join(err, m.demandFlags(token, flags))
}

func (m mailed) demandFlags(token string, flags []imap.Flag) error {
	for _, flag := range flags {
		if !slices.ContainsFunc(m.flags, func(f imap.Flag) bool { return strings.EqualFold(string(f), string(flag)) }) {
			return fmt.Errorf("%s has flags %q, want %q among them", token, m.flags, flag)
		}
	}
	return nil
}

// listed demands that alice has a folder of that name, or none.
func (s *powerSite) listed(name string, want bool) error {
	c, err := s.imapSession("alice", "INBOX")
	if err != nil {
		return err
	}
	defer c.Close()
	found, err := c.List("", name, nil).Collect()
	if err == nil && len(found) > 0 != want {
		err = fmt.Errorf("LIST of %s says %d, want %v", name, len(found), want)
	}
	return err
}

func (s *powerSite) subscribed(name string) error {
	c, err := s.imapSession("alice", "INBOX")
	if err != nil {
		return err
	}
	defer c.Close()
	found, err := c.List("", name, &imap.ListOptions{SelectSubscribed: true}).Collect()
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d subscriptions of %s, want one", len(found), name)
	}
	return err
}

// demandValue demands that an attribute of what the filter finds has this value, or that there is none.
func (s *powerSite) demandValue(filter, attr string, want ...string) error {
	got, err := s.values(filter, attr)
	if err != nil {
		return err
	}
	if len(want) == 0 && len(got) > 0 || len(want) > 0 && !slices.Contains(got, want[0]) {
		return fmt.Errorf("%s of %s is %q, want %q", attr, filter, got, want)
	}
	return nil
}

func (s *powerSite) demandLogin(login, password string) error {
	c, err := imapclient.DialInsecure(s.addr["imap"], nil)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Login(login, password).Wait()
}
