package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/backup"
)

func (c *cli) backupCommand() *cobra.Command {
	o := backup.Options{}
	cmd := c.command(&cobra.Command{
		Use:     "backup NODE-DIR",
		GroupID: "network",
		Short:   "Write a stopped node's folder into one encrypted file",
		Long: `Backs up the folder of one node while that node is stopped; a network of four goes on without it. The file holds the node's keys, its share of
the custodians' key, the blocks, and what the node alone knows, encrypted under the passphrase of the node's keys (a tar, packed by zstd, in
age). It holds no patients' files: the other members keep copies of them, and what is erased must not lie on in backups. It holds no packages
of one-time codes either: a copy would give wrong guesses back.

Keep the file where you would keep the node's keys: with its passphrase, it is the node.`,
		Example: `
anamnesis backup anamnesis-dev/nodes/meridian-laboratory --out meridian.backup`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		o.Dir = args[0]
		return c.backupNode(ctx, o)
	})
	cmd.Flags().StringVar(&o.File, "out", "", "the new `FILE`")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

// backupView is a backup as it is shown.
type backupView struct {
	File    string `json:"file,omitempty"`
	Dir     string `json:"dir"`
	Chain   string `json:"chain"`
	Member  string `json:"member"`
	Name    string `json:"name"`
	Made    uint64 `json:"made_ms"`
	Height  uint64 `json:"height"`
	Entries uint64 `json:"entries"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes,omitempty"` // of the backup
}

func backupOf(m *backup.Manifest, dir string) backupView {
	return backupView{Dir: dir, Chain: m.Chain, Member: m.Member.String(), Name: m.Name, Made: m.Made, Height: m.Height, Entries: m.Log.Size, Files: len(m.Files)}
}

func (c *cli) backupNode(ctx context.Context, o backup.Options) (err error) {
	if err := c.prepareBackup(&o); err != nil {
		return err
	}
	done := c.steps(&o)
	m, err := backup.Write(ctx, o)
	done()
	if err != nil {
		return err
	}
	v := backupOf(m, o.Dir)
	v.File = o.File
	if info, err := os.Stat(o.File); err == nil {
		v.Bytes = info.Size()
	}
	return c.show(v, func(out io.Writer) {
		fmt.Fprintf(out, "%s: the node of %s at block %d, %d entries, %s. The node may start again.\n", printable(v.File), printable(v.Name), v.Height, v.Entries, size(uint64(v.Bytes)))
	})
}

func (c *cli) restoreCommand() *cobra.Command {
	o := backup.Options{}
	cmd := c.command(&cobra.Command{
		Use:     "restore FILE",
		GroupID: "network",
		Short:   "Make a node's folder of a backup",
		Long: `Unpacks a backup into a new or empty folder: everything is checked and the ledger computed anew from the blocks before anything is put in place.

A backup is older than what the node has signed since, and no node may sign two different things. So the restored node signs nothing at first. It
asks the others how far they are, follows them, votes again once it is beyond all that it can have signed, and deletes what was erased
meanwhile before its vault serves. Nothing need be done for that; health says what it waits for.

--all-lost N is for when there is nobody to ask: every node was lost, and N of them come back from backups, this one included (a network of fewer
than four nodes counts as lost with one of them). You then state that nothing that any node signed exists anywhere beyond the newest of these N backups.
Each node waits for the N, and they go on where the newest of them was. If another node still runs, or a newer folder turns up later, the network can
split into two that both look right: say it only when it is so. Wallets that saw a later state will say that the log was rolled back, and they are right.

Patients of this member who still wait to claim their journals need new one-time codes: the old ones are dead.`,
		Example: `
anamnesis restore meridian.backup --dir anamnesis-dev/nodes/meridian-laboratory`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		o.File = args[0]
		return c.restoreNode(ctx, o)
	})
	cmd.Flags().StringVar(&o.Dir, "dir", "", "the node's `DIR`, new or empty")
	cmd.Flags().IntVar(&o.AllLost, "all-lost", 0, "state that every node was lost and `N` come back from backups, with nothing later anywhere")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

func (c *cli) restoreNode(ctx context.Context, o backup.Options) error {
	if o.AllLost < 0 {
		return usage("--all-lost is the number of nodes that come back")
	}
	if o.AllLost > 0 {
		if err := c.confirm(fmt.Sprintf("You state that every node of the network was lost, that %d come back from backups, and that nothing later exists anywhere. Is that so?", o.AllLost)); err != nil {
			return err
		}
	}
	if err := c.prepareBackup(&o); err != nil {
		return err
	}
	done := c.steps(&o)
	m, err := backup.Restore(ctx, o)
	done()
	if err != nil {
		return err
	}
	v := backupOf(m, o.Dir)
	return c.show(v, func(out io.Writer) {
		fmt.Fprintf(out, "%s: the node of %s as of %s, block %d, %d entries.\n", printable(v.Dir), printable(v.Name), time.UnixMilli(int64(v.Made)).UTC().Format(time.RFC3339), v.Height, v.Entries)
		fmt.Fprintln(out, "Start it. It signs nothing until it is beyond what it can have signed before; its health says what it waits for.")
		fmt.Fprintln(out, "One-time codes that this member gave out are dead: give new ones.")
	})
}

// prepareBackup finds what both directions need.
func (c *cli) prepareBackup(o *backup.Options) (err error) {
	if o.Passphrase, err = c.passphrase(filepath.Clean(o.Dir)); err != nil {
		return err
	}
	o.Now, o.WorkFactor = uint64(time.Now().UnixMilli()), c.workFactor
	return nil
}

// steps shows a bar for each step.
func (c *cli) steps(o *backup.Options) (done func()) {
	var b *bar
	at := ""
	o.Progress = func(step string, n, total int64) {
		if step != at {
			b.done()
			b, at = c.bar(step, total), step
		}
		b.set(n)
	}
	return func() { b.done() }
}

// ofBackups: what keeps a node's folder from being backed up or restored.
func ofBackups(err error) *failure {
	switch {
	case errors.Is(err, backup.ErrInUse):
		return failed("folder-in-use", "a node runs on the folder", "Stop that node first; a network of four or more goes on without it.")
	case errors.Is(err, backup.ErrNoNode):
		return failed("no-node", err.Error(), "Give the folder of one node, such as anamnesis-dev/nodes/NAME.")
	case errors.Is(err, backup.ErrHeld):
		return failed("still-restored", err.Error(), "Keep the backup that it came from. Start the node, wait until its health is good, then stop it and back it up.")
	case errors.Is(err, backup.ErrPassphrase):
		return failed("wrong-passphrase", "the passphrase does not open it", "It is that of the node's keys when the backup was made. Check $ANAMNESIS_PASSPHRASE or --passphrase-file, or leave both out to be asked.")
	case errors.Is(err, backup.ErrNotBackup):
		return failed("not-a-backup", "the file is no backup of a node", "Give a file that `anamnesis backup` wrote.")
	case errors.Is(err, backup.ErrVersion):
		return failed("other-version", err.Error(), "Restore it with the version of this program that wrote it, or a newer one that says it can.")
	case errors.Is(err, backup.ErrDamaged):
		return failed("backup-damaged", err.Error(), "Nothing was put in place. Use another copy, or another backup.")
	case errors.Is(err, backup.ErrSource):
		return failed("node-damaged", err.Error(), "Nothing was written. `anamnesis fsck` says what is wrong; a node that starts mends what it can.")
	case errors.Is(err, backup.ErrLimit):
		return failed("too-large", err.Error(), "")
	case errors.Is(err, backup.ErrNotEmpty):
		return failed("folder-not-empty", err.Error(), "Nothing was changed. Choose another --dir, or move what is there away: an old node's folder and a backup must not be mixed.")
	case errors.Is(err, backup.ErrExists):
		return failed("file-exists", err.Error(), "Nothing was changed. Choose another name.")
	case errors.Is(err, backup.ErrSmall):
		return failed("small-network", err.Error(), "With fewer than four nodes nothing is decided without this one, so it has nobody to learn from. Read `anamnesis restore --help` on --all-lost.")
	case errors.Is(err, backup.ErrStatement):
		return &failure{Code: "usage", Title: err.Error(), Detail: "Say with --all-lost how many nodes come back from backups, this one included.", exit: exitUsage}
	}
	return nil
}
