package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

// imapTLS connects to the implicit TLS port, with a client certificate if one is given.
func (s *show) imapTLS(ctx context.Context, options *imapclient.Options, certs ...tls.Certificate) (*imapclient.Client, error) {
	conn, err := dial(ctx, s.Listen.IMAPS)
	if err != nil {
		return nil, err
	}
	c := imapclient.New(tls.Client(conn, s.tls.config(certs...)), options)
	return c, c.WaitGreeting()
}

func (s *show) imapLogin(ctx context.Context, u User, w way, options *imapclient.Options) (*imapclient.Client, error) {
	if w == byCertificate {
		c, err := s.imapTLS(ctx, options, s.tls.users[u.Login])
		if err != nil {
			return nil, err
		}
		return c, c.Authenticate(sasl.NewExternalClient(""))
	}
	c, err := s.imapTLS(ctx, options)
	if err != nil {
		return nil, err
	}
	return c, c.Login(u.Login, u.Password).Wait()
}

func (s *show) read(u User, w way, names ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := s.imapLogin(ctx, u, w, nil)
		if err != nil {
			return "", err
		}
		defer c.Close()
		return s.find(c, names)
	}
}

func (s *show) readStartTLS(u User, names ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		conn, err := dial(ctx, s.Listen.IMAP)
		if err != nil {
			return "", err
		}
		c, err := imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: s.tls.config()})
		if err != nil {
			return "", err
		}
		defer c.Close()
		if err := c.Login(u.Login, u.Password).Wait(); err != nil {
			return "", err
		}
		return s.find(c, names)
	}
}

// find demands that each named message of this run is in INBOX exactly once, and that its text came through whole.
func (s *show) find(c *imapclient.Client, names []string) (string, error) {
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		return "", err
	}
	var errs []error
	for _, name := range names {
		criteria := &imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: s.token(name)}}}
		found, err := c.UIDSearch(criteria, nil).Wait()
		if err != nil {
			return "", err
		}
		uids := found.AllUIDs()
		if len(uids) != 1 {
			errs = append(errs, fmt.Errorf("%q is there %d times, want once", name, len(uids)))
			continue
		}
		errs = append(errs, wholeText(c, uids[0]))
	}
	return fmt.Sprintf("%d messages, each once", len(names)), errors.Join(errs...)
}

func wholeText(c *imapclient.Client, uid imap.UID) error {
	section := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierText, Peek: true}
	msgs, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		return err
	}
	if len(msgs) != 1 || !strings.Contains(string(msgs[0].FindBodySection(section)), "\r\n.\r\nThe line above") {
		return fmt.Errorf("UID %d did not come back as it was sent", uid)
	}
	return nil
}

func (s *show) refuseIMAPPassword(u User) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		u.Password += "x"
		c, err := s.imapLogin(ctx, u, byPassword, nil)
		if c != nil {
			defer c.Close()
		}
		var refusal *imap.Error
		switch {
		case err == nil:
			return "", errors.New("it was accepted")
		case !errors.As(err, &refusal) || refusal.Type != imap.StatusResponseTypeNo || refusal.Code != imap.ResponseCodeAuthenticationFailed:
			return "", fmt.Errorf("want NO [AUTHENTICATIONFAILED]: %w", err)
		}
		return "NO [AUTHENTICATIONFAILED]", nil
	}
}

func (s *show) refuseIMAPStranger(ctx context.Context) (string, error) {
	c, err := s.imapTLS(ctx, nil, s.tls.stranger)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if c.Caps().Has(imap.AuthCap(sasl.External)) {
		return "", errors.New("EXTERNAL is offered")
	}
	return "EXTERNAL not offered", nil
}

// push measures the time from the server's 250 to the EXISTS in an idling session.
func (s *show) push(from string, u User) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		exists := make(chan time.Time, 16)
		handler := &imapclient.UnilateralDataHandler{Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				exists <- time.Now()
			}
		}}
		c, err := s.imapLogin(ctx, u, byPassword, &imapclient.Options{UnilateralDataHandler: handler})
		if err != nil {
			return "", err
		}
		defer c.Close()
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			return "", err
		}
		idle, err := c.Idle()
		if err != nil {
			return "", err
		}
		if _, err := s.arrive(from, u.Mail, "push")(ctx); err != nil {
			return "", err
		}
		accepted := time.Now()
		select {
		case seen := <-exists:
			late := max(seen.Sub(accepted), 0)
			return fmt.Sprintf("EXISTS %.1f ms after the 250", late.Seconds()*1000), idle.Close()
		case <-ctx.Done():
			return "", errors.New("no EXISTS came")
		}
	}
}

// ownEntry binds as the user and demands the own entry without secrets, and nobody else's.
func (s *show) ownEntry(u User) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := ldap.DialURL("ldap://" + s.Listen.LDAP)
		if err != nil {
			return "", err
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { c.Close() })()
		if err := c.StartTLS(s.tls.config()); err != nil {
			return "", err
		}
		if err := c.Bind(u.DN, u.Password); err != nil {
			return "", err
		}
		found, err := c.Search(ldap.NewSearchRequest(s.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
			"(objectClass="+schema.ClassDpMailAccount+")", nil, nil))
		if err != nil {
			return "", err
		}
		if len(found.Entries) != 1 || found.Entries[0].GetAttributeValue(schema.AttrMail) != u.Mail {
			return "", fmt.Errorf("%d accounts are visible, want the own one", len(found.Entries))
		}
		if len(found.Entries[0].GetAttributeValues(schema.AttrUserPassword)) > 0 {
			return "", errors.New("userPassword is visible")
		}
		return found.Entries[0].DN, nil
	}
}
