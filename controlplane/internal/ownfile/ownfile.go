// Package ownfile is for files of the operator's that decide about the whole fleet: keys, programs.
// It says whether anybody else can change one, and reads small ones without waiting.
package ownfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// mostLinks is how many links a path may lead through, as for Linux itself.
const mostLinks = 40

// Check refuses a file that others than root and this user can change: by its mode, by another one
// in its place, in any folder on the way, or by a link. The path must be absolute.
func Check(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s is not an absolute path", path)
	}
	at, rest, links := "/", parts(path), 0
	if err := private(at); err != nil {
		return err
	}
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0]) // one of ".." goes back to what was checked
		rest = rest[1:]
		to, err := os.Readlink(next)
		switch {
		case errors.Is(err, syscall.EINVAL): // no link
			at, err = next, private(next)
		case err == nil:
			if links++; links > mostLinks {
				return fmt.Errorf("%s leads through too many links", path)
			}
			if filepath.IsAbs(to) {
				at = "/"
			}
			rest, err = append(parts(to), rest...), private(next)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}

// private refuses what others can change. In a folder like /tmp they can add names, and not replace
// those of others; the mode of a link means nothing.
func private(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	owned := ok && (stat.Uid == 0 || int(stat.Uid) == os.Getuid())
	shared := info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSymlink == 0 &&
		(!info.IsDir() || info.Mode()&fs.ModeSticky == 0)
	if !owned || shared {
		return fmt.Errorf("%s can be changed by others than root and this user: "+
			"chown root:root and chmod go-w it", path)
	}
	return nil
}

// Read reads a regular file of at most so many bytes that Check lets through, and that not
// everybody can read.
func Read(path string, most int64) ([]byte, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	// Whatever else it is, opening it waits for nobody.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("%s can be read by everybody on this host: make a new key in a "+
			"file of mode 0600", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}
