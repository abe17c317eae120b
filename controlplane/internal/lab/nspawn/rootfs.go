package nspawn

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	agentPath     = "/usr/bin/understudy-agent"
	joinPath      = "etc/understudy-agent/join.json"
	tmpfilesPath  = "etc/tmpfiles.d/understudy-lab-devices.conf"
	dataMountUnit = "srv-mariadb.mount"
	dataMount     = "/srv/mariadb"
	systemUnits   = "etc/systemd/system"
	wantsDir      = systemUnits + "/multi-user.target.wants"
)

// sharedLayer makes, once, the layer between an image and its machines.
func (p *Provider) sharedLayer(spec ImageSpec) (string, error) {
	files := map[string]File{}
	for path, file := range p.cfg.Files {
		files[path] = file
	}
	if p.cfg.AgentBinary != "" {
		files[agentPath] = File{Source: p.cfg.AgentBinary, Mode: 0o755}
	}
	key, err := layerKey(spec, files, p.cfg.EnableUnits)
	if err != nil {
		return "", err
	}
	layer := p.lab.pool("layers", key)
	if _, err := os.Stat(layer); err == nil {
		return layer, nil
	}
	building := layer + ".new"
	if err := os.RemoveAll(building); err != nil {
		return "", err
	}
	if err := fillLayer(building, spec, files, p.cfg.EnableUnits); err != nil {
		return "", err
	}
	return layer, os.Rename(building, layer)
}

// layerKey knows files on disk by size and time, as a build system does.
func layerKey(spec ImageSpec, files map[string]File, enable []string) (string, error) {
	var sources []string
	for path, file := range files {
		if file.Source == "" {
			continue
		}
		info, err := os.Stat(file.Source)
		if err != nil {
			return "", err
		}
		sources = append(sources, fmt.Sprint(path, info.Size(), info.ModTime().UnixNano()))
	}
	slices.Sort(sources)
	description, err := json.Marshal([]any{spec, files, enable, sources})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(description)
	return hex.EncodeToString(sum[:8]), nil
}

func fillLayer(dir string, spec ImageSpec, files map[string]File, enable []string) error {
	if err := makeDir(filepath.Join(dir, wantsDir)); err != nil {
		return err
	}
	for path, file := range files {
		if err := file.write(filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	for _, unit := range append(slices.Clone(spec.EnableUnits), enable...) {
		if err := os.Symlink("/etc/systemd/system/"+unit,
			filepath.Join(dir, wantsDir, unit)); err != nil {
			return err
		}
	}
	for _, unit := range spec.DisableUnits {
		// A character device 0:0 hides the file of the layer below.
		if err := unix.Mknod(filepath.Join(dir, wantsDir, unit), unix.S_IFCHR, 0); err != nil {
			return err
		}
	}
	for _, unit := range spec.MaskUnits {
		if err := maskUnit(dir, unit); err != nil {
			return err
		}
	}
	return nil
}

func (f File) write(path string) error {
	mode := f.Mode
	fill(&mode, fs.FileMode(0o644))
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if f.Source != "" {
		return copyFile(f.Source, path, mode)
	}
	if err := os.WriteFile(path, f.Content, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// makeDir is MkdirAll for directories that become part of a machine, whose users must
// get through them whatever the umask here.
func makeDir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(path, 0o755)
}

// seedMachine fills the machine's own layer: who it is, and its join file.
func (l lab) seedMachine(m *machineRecord, userData []byte) error {
	upper := l.upper(m.ID)
	if err := makeDir(filepath.Join(upper, wantsDir)); err != nil {
		return err
	}
	seeds := map[string]File{
		"etc/machine-id": {Content: []byte(m.MachineID + "\n"), Mode: 0o444},
		"etc/hostname":   {Content: []byte(m.Name + "\n")},
		"etc/hosts": {Content: fmt.Appendf(nil, "127.0.0.1 localhost\n::1 localhost\n%s %s\n",
			m.Address, m.Name)},
		tmpfilesPath: {},
	}
	if len(userData) > 0 {
		seeds[joinPath] = File{Content: userData, Mode: 0o600}
	}
	if m.Default != nil {
		seeds[filepath.Join(systemUnits, dataMountUnit)] = File{Content: mountUnit(m.Default,
			l.deviceName(m.Default.ID))}
		if err := os.Symlink("/"+systemUnits+"/"+dataMountUnit,
			filepath.Join(upper, wantsDir, dataMountUnit)); err != nil {
			return err
		}
	}
	for path, file := range seeds {
		if err := file.write(filepath.Join(upper, path)); err != nil {
			return err
		}
	}
	if len(userData) > 0 {
		return os.Chmod(filepath.Join(upper, filepath.Dir(joinPath)), 0o700)
	}
	return nil
}

func mountUnit(v *defaultVolumeRecord, device string) []byte {
	return fmt.Appendf(nil, `[Unit]
Description=Data volume of the image
Before=mariadb.service

[Mount]
What=/dev/disk/by-id/%s
Where=%s
Type=%s
Options=noatime

[Install]
WantedBy=multi-user.target
`, device, dataMount, v.Filesystem)
}

// mountRoot puts the layers together again: the mount point is a fresh one, as removing the
// old one ends the copies of its mount that other machines may hold (see unmountPool).
func (l lab) mountRoot(m *machineRecord) error {
	root, work := l.root(m.ID), l.pool("machines", m.ID, "work")
	removeNspawnLock(root)
	if err := removeTree(root); err != nil {
		return err
	}
	for _, dir := range []string{root, work} {
		if err := makeDir(dir); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(m.Lower, ":"),
		l.upper(m.ID), work)
	if err := unix.Mount("understudy-"+m.ID, root, "overlay", 0, options); err != nil {
		return fmt.Errorf(
			"cannot mount the root of machine %s (were its image or its layers removed?): %w", m.ID,
			err)
	}
	return nil
}

// writeTmpfiles leaves what the machine's systemd makes devices from when it boots.
func (l lab) writeTmpfiles(machine string, attached map[string]int) error {
	var b strings.Builder
	b.WriteString("d /dev/disk/by-id 0755 root root -\n")
	for volume, n := range attached {
		fmt.Fprintf(&b, "b /dev/loop%d 0660 root disk - %d:%d\n", n, loopMajor, n)
		fmt.Fprintf(&b, "L+ /dev/disk/by-id/%s - - - - ../../loop%d\n", l.deviceName(volume), n)
	}
	return os.WriteFile(filepath.Join(l.root(machine), tmpfilesPath), []byte(b.String()), 0o644)
}
