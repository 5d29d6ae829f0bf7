package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/cmd/dirpost/internal/config"
	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/ldapd"
	"github.com/dirpost/dirpost/storage/mailbox"
	"github.com/dirpost/dirpost/tools/backup"
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "copy all that cannot be rebuilt, while the server runs or not",
		ArgsUsage: "FOLDER|FILE.tar|-",
		Description: `In it are the configuration with its keys and certificates, the embedded directory with all passwords, and
all mail: keep it as safe as the server. Every message that was there at the beginning and is not deleted
meanwhile is in it. A folder on the same file system shares the messages with the server and takes no room.

An LDAP server of your own is not in it; slapcat copies that one.

Examples:

   dirpost backup /srv/backup/dirpost-$(date +%F).tar
   dirpost backup - | age -r age1... > dirpost.tar.age`,
		Flags:  []cli.Flag{jsonFlag()},
		Action: runBackup,
	}
}

func runBackup(c *cli.Context) error {
	args, err := arguments(c, "FOLDER|FILE.tar|-")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.String("config"))
	if err != nil {
		return err
	}
	cfg, err := config.ParseAs(c.String("config"), text)
	if err != nil {
		return err
	}
	src := backup.Source{
		Manifest: backup.Manifest{Format: backup.Format, Version: version, Hostname: cfg.Hostname, Created: time.Now()},
		Config:   text, Data: cfg.Data, Files: namedFiles(cfg),
	}
	if cfg.Directory.Embedded {
		src.Directory = func(ctx context.Context) (io.ReadCloser, int64, error) { return copyOfDirectory(ctx, cfg) }
	}
	summary, err := backup.Write(c.Context, args[0], c.App.Writer, src)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", directory.ErrExists, err)
	}
	if err != nil {
		return err
	}
	for _, name := range summary.Skipped {
		fmt.Fprintf(c.App.ErrWriter, "dirpost: left out, for it is no file: %s\n", name)
	}
	for _, home := range summary.Unsettled {
		fmt.Fprintf(c.App.ErrWriter, "dirpost: so much was moved in home %s that a message may be missing\n", home)
	}
	if args[0] == "-" {
		return nil
	}
	return done(c, summary, "%s: %d messages in %d homes, %d other files, %s", args[0], summary.Messages, summary.Homes, summary.Files, bytesText(uint64(summary.Bytes)))
}

// namedFiles are the files that a configuration names, by keys that stay the same when their paths change.
func namedFiles(cfg config.Config) map[string]string {
	files := map[string]string{"directory.ca": cfg.Directory.CA, "directory.password_file": cfg.Directory.PasswordFile}
	for i, pair := range cfg.TLS {
		files[fmt.Sprintf("tls.%d.cert", i)], files[fmt.Sprintf("tls.%d.key", i)] = pair.Cert, pair.Key
	}
	maps.DeleteFunc(files, func(_, path string) bool { return path == "" })
	return files
}

// isSecret reports whether a file that the configuration names may be read by its owner only.
func isSecret(cfg config.Config, path string) bool {
	return path == cfg.Directory.PasswordFile || slices.ContainsFunc(cfg.TLS, func(p config.KeyPair) bool { return p.Key == path })
}

// copyOfDirectory opens a copy of the embedded directory: of the server that runs, or the file itself if none does.
func copyOfDirectory(ctx context.Context, cfg config.Config) (io.ReadCloser, int64, error) {
	if cfg.Listen.Control != "" {
		resp, err := askServer(ctx, cfg, "GET", "/directory")
		if err == nil {
			return resp.Body, resp.ContentLength, nil
		}
		if !errors.Is(err, errNotRunning) {
			return nil, 0, err
		}
	}
	data, err := os.OpenRoot(cfg.Data)
	if err != nil {
		return nil, 0, err
	}
	defer data.Close()
	name, err := filepath.Rel(cfg.Data, directoryFile(cfg))
	if err != nil {
		return nil, 0, err
	}
	f, err := data.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	// The lock keeps a server from starting meanwhile, and tells if one is running that does not answer.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("%s is in use and %w at listen.control = %q", f.Name(), errNotRunning, cfg.Listen.Control), f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "put a backup back, where nothing is",
		ArgsUsage: "FOLDER|FILE.tar|-",
		Description: `The configuration goes to where --config says, and must not be there yet; the data goes to the folder it names,
which must be missing or empty. Certificates and keys that are there already stay. The owner is as with init.
Mail programs notice that the folders are not what they were, and read them anew.

Examples:

   dirpost restore /srv/backup/dirpost-2026-11-25.tar
   age -d -i key.txt dirpost.tar.age | dirpost restore -
   dirpost --config ./dirpost.toml restore backup.tar --data ./data --cache ./cache      a look at it`,
		Flags: append(accountFlags(),
			&cli.StringFlag{Name: "data", Usage: "put the data into `FOLDER`, and change the configuration to it"},
			&cli.StringFlag{Name: "cache", Usage: "use `FOLDER` for the cache likewise"},
		),
		Action: runRestore,
	}
}

func runRestore(c *cli.Context) error {
	args, err := arguments(c, "FOLDER|FILE.tar|-")
	if err != nil {
		return err
	}
	path, err := filepath.Abs(c.String("config"))
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%w: %s; choose another with --config, or remove it", directory.ErrExists, path))
	}
	archive, err := backup.Open(args[0], c.App.Reader)
	if err != nil {
		return err
	}
	defer archive.Close()
	cfg, text, err := restoredConfig(c, path, archive.Config)
	if err != nil {
		return err
	}
	if err := demandEmpty(cfg.Data); err != nil {
		return err
	}
	o, service, err := account(c, cfg.Data)
	if err != nil {
		return err
	}
	summary, err := putBack(c.Context, archive, cfg, path)
	if err != nil {
		return fmt.Errorf("%w; what is in %s now is of no use: remove it before you try again", err, cfg.Data)
	}
	start, err := handOver(c, cfg, path, o, service)
	if err != nil {
		return err
	}
	if err := writeText(path, text); err != nil { // last: without it there is no installation
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "restored %d messages in %d homes as of %s; next:\n\n   %s\n", summary.Messages, summary.Homes,
		archive.Manifest.Created.Local().Format(time.DateTime), start)
	return err
}

// restoredConfig returns the configuration that a backup is restored with, and its text.
func restoredConfig(c *cli.Context, path string, text []byte) (config.Config, []byte, error) {
	cfg, err := config.ParseAs(path, text)
	if err != nil || !c.IsSet("data") && !c.IsSet("cache") {
		return cfg, text, err
	}
	for flag, key := range map[string]*string{"data": &cfg.Data, "cache": &cfg.Cache} {
		if !c.IsSet(flag) {
			continue
		}
		if *key, err = filepath.Abs(c.String(flag)); err != nil {
			return cfg, nil, err
		}
	}
	var changed strings.Builder
	if err := config.Write(&changed, cfg); err != nil {
		return cfg, nil, err
	}
	_, err = config.Parse([]byte(changed.String()))
	return cfg, []byte(changed.String()), err
}

// demandEmpty refuses a folder in which something is.
func demandEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return fmt.Errorf("%w: %s is not empty; nothing was changed", directory.ErrExists, dir)
		}
	}
	return nil
}

// putBack makes the folders of cfg, fills them from the archive and sees to it that what is there can be used.
func putBack(ctx context.Context, archive *backup.Archive, cfg config.Config, path string) (backup.Summary, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return backup.Summary{}, err
	}
	for _, dir := range []string{cfg.Data, cfg.Cache} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return backup.Summary{}, err
		}
	}
	files := namedFiles(cfg)
	summary, err := archive.Extract(backup.Destination{Data: cfg.Data, File: func(key string) (string, fs.FileMode) {
		if isSecret(cfg, files[key]) {
			return files[key], 0o600
		}
		return files[key], 0o644
	}})
	if err != nil {
		return summary, err
	}
	if cfg.Directory.Embedded {
		e, err := openEmbedded(cfg, ldapd.Options{})
		if err != nil {
			return summary, err
		}
		if err := e.close(ctx); err != nil {
			return summary, err
		}
	}
	store, err := mailbox.Open(mailbox.Options{Homes: homesFolder(cfg), Cache: cfg.Cache, Node: cfg.Hostname})
	if err != nil {
		return summary, err
	}
	return summary, errors.Join(store.Renew(ctx), store.Close())
}
