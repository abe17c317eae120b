package nspawn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// ImageSpec declares an image: a Debian suite, built once and shared, and what makes this
// image different, applied when a machine is made.
type ImageSpec struct {
	// Name is how machines ask for it.
	Name string
	// Description is one line for operators.
	Description string
	// Suite is the Debian release to build: trixie (MariaDB 11.8) or bookworm (10.11).
	Suite string
	// Packages of the suite are installed beside those of every image, in a layer of their own.
	Packages []string
	// MaskUnits, EnableUnits (wanted by multi-user.target) and DisableUnits change what
	// Debian's packages set up.
	MaskUnits, EnableUnits, DisableUnits []string
	// DefaultVolume is formatted, attached and has a unit srv-mariadb.mount that names
	// it, all before the first boot; nil for none.
	DefaultVolume *provider.DefaultVolume
}

// Builtin are the images that every lab knows: for each suite the plain one, one with a
// default data volume (-data), and one whose mariadb.service is masked besides (-masked).
func Builtin() []ImageSpec {
	var specs []ImageSpec
	for suite, series := range suiteSeries {
		volume := &provider.DefaultVolume{SizeBytes: 1 << 30, Filesystem: "ext4"}
		specs = append(specs,
			ImageSpec{Name: suite, Suite: suite, Description: "Debian " + suite + " with MariaDB " +
				series},
			ImageSpec{Name: suite + "-data", Suite: suite, DefaultVolume: volume,
				Description: "Debian " + suite + " with MariaDB " + series + " and a data volume"},
			ImageSpec{Name: suite + "-masked", Suite: suite, DefaultVolume: volume,
				MaskUnits: []string{"mariadb.service"},
				Description: "Debian " + suite + " with MariaDB " + series +
					" masked, and a data volume"})
	}
	return specs
}

var suiteSeries = map[string]string{"trixie": "11.8", "bookworm": "10.11"}

// imagePackages are in every image, on top of debootstrap's minbase.
var imagePackages = []string{
	"systemd", "systemd-sysv", "dbus", "mariadb-server",
	"e2fsprogs", "xfsprogs", "iproute2", "procps", "util-linux",
}

// uselessUnits only cost time or write to the disk of a container that lives for minutes.
var uselessUnits = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "apt-daily.service", "apt-daily-upgrade.service",
	"dpkg-db-backup.timer", "man-db.timer", "e2scrub_all.timer", "e2scrub_reap.service",
	"fstrim.timer", "xfs_scrub_all.timer",
	"systemd-networkd-wait-online.service", "getty@tty1.service", "console-getty.service",
	"getty-static.service",
	"systemd-pstore.service", "kmod-static-nodes.service", "systemd-modules-load.service",
}

// imageFormat changes when the recipe in image_build.go does.
const imageFormat = "1"

// imageRecord is written into a finished image.
type imageRecord struct {
	Suite          string
	Mirror         string
	MariaDBVersion string
}

// imageDir is where a suite's image is; its name changes with what goes into it.
func imageDir(cache, suite string) string {
	recipe := strings.Join(append([]string{imageFormat, suite, runtime.GOARCH},
		append(imagePackages, uselessUnits...)...), "\n")
	return filepath.Join(cache, suite+"-"+keyOf(recipe))
}

// packagesDir is where the layer of the image's own packages is: with the image of its suite, for
// it fits no other one.
func packagesDir(cache string, spec ImageSpec) string {
	return filepath.Join(imageDir(cache, spec.Suite),
		"packages-"+keyOf(strings.Join(spec.Packages, "\n")))
}

func keyOf(recipe string) string {
	sum := sha256.Sum256([]byte(recipe))
	return hex.EncodeToString(sum[:6])
}

// isBuilt is true when nothing of the image is missing.
func isBuilt(cache string, spec ImageSpec) (imageRecord, bool, error) {
	record, ready, err := readImage(cache, spec.Suite)
	if err != nil || !ready || len(spec.Packages) == 0 {
		return record, ready, err
	}
	_, err = os.Stat(packagesDir(cache, spec))
	if errors.Is(err, fs.ErrNotExist) {
		return record, false, nil
	}
	return record, err == nil, err
}

func readImage(cache, suite string) (imageRecord, bool, error) {
	var record imageRecord
	err := readJSON(filepath.Join(imageDir(cache, suite), "image.json"), &record)
	if errors.Is(err, fs.ErrNotExist) {
		return record, false, nil
	}
	return record, err == nil, err
}

// Images lists the lab's images by name, built or not.
func (p *Provider) Images(_ context.Context) ([]provider.Image, error) {
	var images []provider.Image
	for _, name := range p.imageNames() {
		spec := p.specs[name]
		record, ready, err := isBuilt(p.cfg.ImageCacheDir, spec)
		if err != nil {
			return nil, err
		}
		if !ready {
			record.MariaDBVersion = suiteSeries[spec.Suite]
		}
		images = append(images, provider.Image{Name: name, Description: spec.Description,
			Ready:          ready,
			MariaDBVersion: record.MariaDBVersion, MaskedUnits: spec.MaskUnits,
			DefaultVolume: spec.DefaultVolume})
	}
	return images, nil
}

func (p *Provider) spec(name string) (ImageSpec, error) {
	spec, ok := p.specs[name]
	if !ok {
		return spec, provider.Errorf(provider.ErrNotFound, name,
			"image %.70q not found: there are %s", name, strings.Join(p.imageNames(), ", "))
	}
	return spec, nil
}

// layers are the overlay's lower directories for machines of the image, topmost first.
func (p *Provider) layers(spec ImageSpec) ([]string, error) {
	_, ready, err := isBuilt(p.cfg.ImageCacheDir, spec)
	if err != nil {
		return nil, err
	}
	if !ready {
		return nil, provider.Errorf(provider.ErrIncorrectState, spec.Name,
			"image %s is not built: build it first, which takes a minute or two", spec.Name)
	}
	shared, err := p.sharedLayer(spec)
	if err != nil {
		return nil, fmt.Errorf("cannot make the layer of image %s: %w", spec.Name, err)
	}
	layers := []string{shared}
	if len(spec.Packages) > 0 {
		layers = append(layers, filepath.Join(packagesDir(p.cfg.ImageCacheDir, spec), "rootfs"))
	}
	return append(layers, filepath.Join(imageDir(p.cfg.ImageCacheDir, spec.Suite), "rootfs")), nil
}

func checkSpec(spec ImageSpec) error {
	if _, ok := suiteSeries[spec.Suite]; !ok || spec.Name == "" {
		return provider.Errorf(provider.ErrInvalid, spec.Name,
			"image %q: suite %q is neither trixie nor bookworm", spec.Name, spec.Suite)
	}
	if v := spec.DefaultVolume; v != nil {
		if v.Filesystem != "ext4" && v.Filesystem != "xfs" {
			return provider.Errorf(provider.ErrInvalid, spec.Name,
				"image %q: filesystem %q is neither ext4 nor xfs", spec.Name, v.Filesystem)
		}
		if err := provider.ValidateSize(v.SizeBytes); err != nil {
			return err
		}
	}
	for _, unit := range append(append(append([]string{}, spec.MaskUnits...), spec.EnableUnits...),
		spec.DisableUnits...) {
		if filepath.Base(unit) != unit {
			return provider.Errorf(provider.ErrInvalid, spec.Name,
				"image %q: %q is not the name of a unit", spec.Name, unit)
		}
	}
	return nil
}
