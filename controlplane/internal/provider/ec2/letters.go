package ec2

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// maxInstances is of how many instances the letters are remembered.
const maxInstances = 10000

// letters remembers the device names that were used on an instance here. EC2 calls a name free as
// soon as its volume is detached; the instance may hold it longer, and a volume that is attached
// under it then stays attaching.
type letters struct {
	mu   sync.Mutex
	used map[string]string // the letters, by instance
}

func (l *letters) note(instance, device string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used == nil || len(l.used) >= maxInstances {
		l.used = map[string]string{} // who forgets takes any letter, as a new process does
	}
	if c := letter(device); !strings.Contains(l.used[instance], c) {
		l.used[instance] += c
	}
}

func (l *letters) of(instance string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used[instance]
}

// forget is for an instance that ends.
func (l *letters) forget(instance string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.used, instance)
}

// free are the names that AWS recommends for data volumes, without those that the instance
// uses. Those that nothing used so far come first, in any order: neither the image's volumes nor,
// as far as this process knows, one that was attached since. The order differs from try to try, so
// that after a restart too another name is likely.
func (l *letters) free(ctx context.Context, a *account, machine types.Instance) []string {
	id := aws.ToString(machine.InstanceId)
	taken := map[string]bool{}
	for _, m := range machine.BlockDeviceMappings {
		taken[letter(aws.ToString(m.DeviceName))] = true
	}
	ofImage, before := imageLetters(ctx, a, machine), l.of(id)
	var fresh, used []string
	for c := 'f'; c <= 'p'; c++ {
		switch name := string(c); {
		case taken[name]:
		case ofImage[name] || strings.Contains(before, name):
			used = append(used, fmt.Sprintf("/dev/sd%c", c))
		default:
			fresh = append(fresh, fmt.Sprintf("/dev/sd%c", c))
		}
	}
	for _, part := range [][]string{fresh, used} {
		rand.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
	return slices.Concat(fresh, used)
}

// imageLetters are the names of the image's volumes; none when the image is gone.
func imageLetters(ctx context.Context, a *account, machine types.Instance) map[string]bool {
	names := map[string]bool{}
	out, err := a.api.DescribeImages(ctx,
		&ec2.DescribeImagesInput{ImageIds: []string{aws.ToString(machine.ImageId)}})
	if err != nil {
		a.cfg.Log.Info("the image of a machine cannot be read", "machine",
			aws.ToString(machine.InstanceId), "error", err)
		return names
	}
	for _, i := range out.Images {
		for _, m := range i.BlockDeviceMappings {
			names[letter(aws.ToString(m.DeviceName))] = true
		}
	}
	return names
}

// letter is what /dev/sdf and /dev/xvdf share: they are one.
func letter(device string) string {
	name := strings.TrimPrefix(device, "/dev/")
	for _, prefix := range []string{"xvd", "sd"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return strings.TrimRight(rest, "0123456789")
		}
	}
	return name
}
