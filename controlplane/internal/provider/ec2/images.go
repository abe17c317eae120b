package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Images lists the account's AMIs that carry the tag understudy:image, whose value is the name; the
// newest of each name.
func (p *Provider) Images(ctx context.Context) ([]provider.Image, error) {
	newest, err := p.newestImages(ctx, filter("tag-key", tagImage))
	if err != nil {
		return nil, err
	}
	var images []provider.Image
	for name, i := range newest {
		images = append(images, toImage(name, i))
	}
	slices.SortFunc(images,
		func(a, b provider.Image) int { return strings.Compare(a.Name, b.Name) })
	return images, nil
}

// image is the AMI of that name, or that ID.
func (a *account) image(ctx context.Context, name string) (types.Image, error) {
	if checkID(name, "ami") == nil {
		out, err := a.api.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{name}})
		if err != nil || len(out.Images) == 0 {
			return types.Image{}, refused(err, "DescribeImages", name)
		}
		return out.Images[0], nil
	}
	newest, err := a.newestImages(ctx, filter("tag:"+tagImage, escape(name)))
	if err != nil {
		return types.Image{}, err
	}
	if image, ok := newest[name]; ok && image.State == types.ImageStateAvailable {
		return image, nil
	}
	return types.Image{},
		provider.Errorf(provider.ErrNotFound, "",
			"image %.70q not found: tag an AMI of this account with %s=%.70s", name, tagImage, name)
}

func (a *account) newestImages(ctx context.Context,
	by types.Filter) (map[string]types.Image, error) {
	newest := map[string]types.Image{}
	pages := ec2.NewDescribeImagesPaginator(a.api,
		&ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{by}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, refused(err, "DescribeImages", "")
		}
		for _, i := range page.Images {
			name := fromTags(i.Tags)[tagImage]
			if old, ok := newest[name]; !ok || newer(i, old) {
				newest[name] = i
			}
		}
	}
	return newest, nil
}

// newer prefers what can be used, then the later one; EC2 writes times so that they sort as text.
func newer(a, b types.Image) bool {
	usableA, usableB := a.State == types.ImageStateAvailable, b.State == types.ImageStateAvailable
	if usableA != usableB {
		return usableA
	}
	return aws.ToString(a.CreationDate) > aws.ToString(b.CreationDate)
}

func toImage(name string, i types.Image) provider.Image {
	tags := fromTags(i.Tags)
	image := provider.Image{Name: name, Description: aws.ToString(i.Description),
		MariaDBVersion: tags[tagMariaDB],
		MaskedUnits:    strings.Fields(tags[tagMasked]),
		Ready:          i.State == types.ImageStateAvailable}
	data, err := dataVolume(name, i)
	if err != nil {
		image.Problem = err.Error()
	}
	if data != nil {
		filesystem := tags[tagFilesystem]
		fill(&filesystem, "ext4")
		image.DefaultVolume = &provider.DefaultVolume{SizeBytes: bytesOf(data.Ebs.VolumeSize),
			Filesystem: filesystem}
	}
	return image
}
