package survey

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/schema"
)

// Entries looks at what the service may see: how many accounts, groups, domains and authorities there are, what accounts miss
// to work, and whether secrets can be read that nobody should. It reads every entry of the platform.
func Entries(ctx context.Context, c *client.Client, opts Options) ([]Finding, error) {
	s := &survey{client: c, opts: opts}
	for _, look := range []func(context.Context) error{s.accounts, s.domains, s.authorities} {
		if err := look(ctx); err != nil {
			return nil, err
		}
	}
	return s.findings, nil
}

// each calls take with every entry of a class. A base that is not there has none.
func (s *survey) each(ctx context.Context, class string, attrs []string, take func(*ldap.Entry)) error {
	err := s.client.Each(ctx, s.opts.Base, ldap.ScopeWholeSubtree, client.Equal(schema.AttrObjectClass, class), attrs,
		func(e *ldap.Entry) error { take(e); return nil })
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		return fmt.Errorf("entries of class %s: %w", class, err)
	}
	return nil
}

// accounts looks at the people.
func (s *survey) accounts(ctx context.Context) error {
	count, secrets := 0, 0
	lacking := map[string]int{}
	needed := []struct{ attr, consequence string }{
		{schema.AttrUid, "have no login name"},
		{schema.AttrDpAccountStatus, "count as suspended"},
		{schema.AttrDpMailService, "may use no service"},
	}
	attrs := []string{schema.AttrObjectClass, schema.AttrUserPassword}
	for _, n := range needed {
		attrs = append(attrs, n.attr)
	}
	err := s.each(ctx, schema.ClassDpMailAccount, attrs, func(e *ldap.Entry) {
		count++
		if len(e.GetEqualFoldRawAttributeValue(schema.AttrUserPassword)) > 0 {
			secrets++
		}
		for _, n := range needed {
			if e.GetEqualFoldAttributeValue(n.attr) == "" {
				lacking[n.attr]++
			}
		}
	})
	if err != nil {
		return err
	}
	if count == 0 {
		s.note(Fault, "there is no account below %s, or the service may see none", s.opts.Base)
		return nil
	}
	s.note(OK, "%s", plural(count, "account"))
	if secrets > 0 {
		s.note(Fault, "the service can read the stored passwords of %s: take that right from it", plural(secrets, "account"))
	}
	for _, n := range needed {
		if lacking[n.attr] > 0 {
			s.note(Lacks, "%s without %s: they %s", plural(lacking[n.attr], "account"), n.attr, n.consequence)
		}
	}
	return nil
}

// domains looks at the mail domains.
func (s *survey) domains(ctx context.Context) error {
	count := len(s.opts.Domains)
	if err := s.each(ctx, schema.ClassDpMailDomain, []string{schema.AttrAssociatedDomain}, func(*ldap.Entry) { count++ }); err != nil {
		return err
	}
	if count == 0 {
		s.note(Fault, "no mail domain is ours: neither an entry nor directory.domains names one")
		return nil
	}
	s.note(OK, "%s", plural(count, "mail domain"))
	return nil
}

// authorities looks at those whose certificates log people in.
func (s *survey) authorities(ctx context.Context) error {
	count := 0
	if err := s.each(ctx, schema.ClassDpCertAuthority, []string{schema.AttrCn}, func(*ldap.Entry) { count++ }); err != nil {
		return err
	}
	if count == 0 {
		s.note(Lacks, "no authority of client certificates: nobody logs in by certificate")
		return nil
	}
	s.note(OK, "%s of client certificates", plural(count, "authority", "authorities"))
	return nil
}

// plural is a number with its noun.
func plural(n int, one string, many ...string) string {
	switch {
	case n == 1:
		return "1 " + one
	case len(many) > 0:
		return fmt.Sprintf("%d %s", n, many[0])
	}
	return fmt.Sprintf("%d %ss", n, one)
}
