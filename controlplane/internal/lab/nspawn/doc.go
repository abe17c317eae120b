// Package nspawn is the provider that makes a small cloud on one box: machines are
// systemd-nspawn containers with a systemd of their own, volumes are files attached as
// loop devices, snapshots are reflink copies.
//
// # What is where
//
// Everything of a lab is in its directory, or is found by a name made from the lab's:
//
//	lab.json              name, subnet; written first, so that a half-made lab is known as one
//	lock                  flock: one writer at a time, over processes
//	records/*/ID.json     machines, volumes, snapshots: intent before effect, replaced atomically
//	run/ID/               of a machine: lock held by its supervisor, console, log
//	pool.img, pool/       XFS with reflinks on a loop device (pool/ alone where the
//	                      directory's own filesystem has reflinks)
//	pool/volumes/ID.img   and pool/snapshots/ID.img, pool/machines/ID/{upper,work,root},
//	                      pool/layers/KEY
//
// # Why it survives kill -9 at any line
//
// No goroutine and no process of the control plane holds state. Each call takes the lab's
// lock, settles what records say against what is there (a volume whose file is missing is
// made, an attachment whose device is missing is plugged, a machine that was being taken
// away is removed), and then acts: record first, effect second, and each effect is
// found by name and not repeated. States that take time are computed from recorded times.
//
// A machine is run by a supervisor: this same program, started again in a session and a
// control group of its own (see Supervise), so that it outlives the control plane. The
// supervisor holds a lock file for as long as the machine is on; the kernel lets go of it
// whatever happens, and nobody has to trust a process number in a file.
//
// # Root file system
//
// Overlayfs, with the image of the suite as the lowest layer, one with the packages that an image
// has beside it, one for what all machines of this image and lab share (masks, the agent) and the
// machine's own upper directory on the pool. A clone by reflink of the 13,000 files took 4 s on two
// cores and needs the image on the pool first (another 5 s); the overlay took 10 ms, and systemd
// and MariaDB were up 1.9 s after the start on it. Its price is that an image must not be changed
// while machines use it, so images are never changed: they have a content key in their name.
//
// # Devices
//
// There is no udev in a container, so the provider plays its part: it makes the node and
// the by-id link in the running machine, and writes the same as a tmpfiles.d file before
// each start, which systemd applies before it mounts anything. That is what makes mounts
// survive a reboot. As on EC2, a device that the machine has mounted is not removed:
// the detach stays under way until it is unmounted.
package nspawn
